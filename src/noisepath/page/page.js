// Counts what went wrong on this page, shows the samples one at a time and pictures large, and reads the charts under the pointer.
(() => {
  "use strict";
  const told = document.documentElement.dataset;
  told.errors = "0";
  const failed = () => { told.errors = String(Number(told.errors) + 1); };
  addEventListener("error", failed);
  addEventListener("unhandledrejection", failed);
  document.addEventListener("securitypolicyviolation", failed);

  addEventListener("DOMContentLoaded", () => {
    samples();
    document.querySelectorAll("svg[data-points]").forEach(read);
    enlarge([...document.querySelectorAll("a.enlarge")]);
  });
  addEventListener("load", () => {
    const broken = [...document.images].filter((image) => !image.complete || image.naturalWidth === 0);
    broken.forEach((image) => image.classList.add("broken"));
    told.brokenPictures = String(broken.length);
    told.pictures = String(document.images.length);
  });

  // A slider through the strip; without this script the strip is a list of links to the pictures.
  function samples() {
    const stage = document.getElementById("stage"), strip = document.getElementById("strip");
    if (!stage || !strip) return;
    const items = [...strip.children], image = stage.querySelector("img"), words = stage.querySelector("figcaption");
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: items.length - 1, step: 1, value: items.length - 1 });
    slider.setAttribute("aria-label", "Which step the samples are from");
    const show = (chosen) => {
      const link = items[chosen].querySelector("a"), small = link.querySelector("img");
      image.src = small.src;
      image.alt = small.alt;
      words.textContent = "after step " + Number(items[chosen].dataset.step).toLocaleString("en");
      slider.setAttribute("aria-valuetext", words.textContent);
      items.forEach((item) => item.querySelector("a").removeAttribute("aria-current"));
      link.setAttribute("aria-current", "true");
      strip.scrollTo({ left: items[chosen].offsetLeft - (strip.clientWidth - items[chosen].clientWidth) / 2 });
      slider.value = chosen;
    };
    slider.addEventListener("input", () => show(Number(slider.value)));
    items.forEach((item, place) => item.querySelector("a").addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(place);
    }));
    stage.append(slider);
    show(items.length - 1);
  }

  // A picture of a board is shown as large as the window when it is chosen; the arrow keys go to those beside it.
  function enlarge(links) {
    let dialog = null, place = 0;
    const show = (chosen) => {
      place = (chosen + links.length) % links.length;
      const small = links[place].querySelector("img"), [image, words] = dialog.children;
      image.src = small.src;
      image.alt = words.textContent = small.alt;
    };
    const begin = () => {
      dialog = document.createElement("dialog");
      dialog.append(document.createElement("img"), document.createElement("p"));
      dialog.addEventListener("click", () => dialog.close());
      dialog.addEventListener("close", () => links[place].focus());
      dialog.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (move === undefined) return;
        event.preventDefault();
        show(place + move);
      });
      document.body.append(dialog);
    };
    links.forEach((link, i) => link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (!dialog) begin();
      show(i);
      dialog.showModal();
    }));
  }

  // The point nearest to the pointer, or chosen by the arrow keys, is said below the chart.
  function read(chart) {
    const points = JSON.parse(chart.dataset.points), line = chart.querySelector(".cursor");
    const dots = chart.querySelectorAll(".dot"), dot = dots[dots.length - 1];
    const reading = chart.parentElement.querySelector("output"), whole = reading.textContent;
    let place = points.length - 1;
    const show = (chosen) => {
      place = Math.max(0, Math.min(points.length - 1, chosen));
      const [x, y, words] = points[place];
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
      [line, dot].forEach((part) => part.setAttribute("visibility", "visible"));
      reading.textContent = words;
    };
    const leave = () => {
      [line, dot].forEach((part) => part.setAttribute("visibility", "hidden"));
      reading.textContent = whole;
    };
    const nearest = (x) => {
      let low = 0, high = points.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((points[middle][0] + points[middle + 1][0]) / 2 < x) low = middle + 1; else high = middle;
      }
      return low;
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      show(nearest((event.clientX - box.left) / box.width * chart.viewBox.baseVal.width));
    });
    chart.addEventListener("pointerleave", leave);
    chart.addEventListener("focus", () => { if (chart.matches(":focus-visible")) show(place); });
    chart.addEventListener("blur", leave);
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20, Home: -points.length, End: points.length }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      show(place + move);
    });
  }
})();
