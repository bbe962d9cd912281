"use strict";
// Everything is there without this script. It reads charts aloud, finds records, and opens what a link points into.
(() => {
  for (const time of document.querySelectorAll("time")) {
    time.title = new Date(time.dateTime).toLocaleString() + " (your time)";
  }

  for (const figure of document.querySelectorAll("figure.chart")) {
    const marks = [...figure.querySelectorAll(".mark")];
    const said = figure.querySelector("output");
    let at = -1;
    const show = (nth) => {
      marks.forEach((mark, other) => mark.classList.toggle("on", other === nth));
      at = nth;
      said.textContent = nth < 0 ? "" : marks[nth].querySelector("title").textContent;
    };
    marks.forEach((mark, nth) => {
      mark.addEventListener("pointerenter", () => show(nth));
      mark.addEventListener("click", () => show(nth));
    });
    figure.addEventListener("pointerleave", () => show(-1));
    figure.addEventListener("focus", () => { if (at < 0 && marks.length) show(marks.length - 1); });
    figure.addEventListener("blur", () => show(-1));
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !marks.length) return;
      event.preventDefault();
      show(Math.min(marks.length - 1, Math.max(0, (at < 0 ? marks.length : at) + step)));
    });
  }

  const form = document.querySelector("form.search");
  if (form) {
    const [dataset, key, found] = [form.querySelector("select"), form.querySelector("input"), form.querySelector("output")];
    const records = [...document.querySelectorAll("details.record")];
    const keys = records.map((record) => record.querySelector(".key").textContent.toLowerCase());
    const search = () => {
      const wanted = key.value.trim().toLowerCase();
      let count = 0;
      records.forEach((record, nth) => {
        const fits = (!dataset.value || record.dataset.dataset === dataset.value) && keys[nth].includes(wanted);
        record.hidden = !fits;
        count += fits ? 1 : 0;
      });
      found.textContent = `${count} of ${records.length} records`;
    };
    form.hidden = false;
    form.addEventListener("input", search);
    form.addEventListener("submit", (event) => event.preventDefault());
    search();
  }

  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let place = target; place; place = place.parentElement) {
      if (place instanceof HTMLDetailsElement) place.open = true;
    }
    target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", open);
  open();
})();
