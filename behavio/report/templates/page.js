"use strict";
(() => {
  const value = (row, i) => {
    const cell = row.cells[i];
    const raw = cell.dataset.v;
    if (raw === undefined) return cell.textContent.trim();
    if (raw === "") return null;
    const n = Number(raw);
    return Number.isNaN(n) ? raw : n;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const sort = (table, i) => {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[i];
    const numeric = head.classList.contains("num");
    const was = head.getAttribute("aria-sort");
    const down = was ? was === "ascending" : numeric;
    heads.forEach((h) => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, at) => [value(row, i), at, row]);
    rows.sort((x, y) => {
      if (x[0] === null || y[0] === null) return (x[0] === null) - (y[0] === null) || x[1] - y[1];
      return (down ? compare(y[0], x[0]) : compare(x[0], y[0])) || x[1] - y[1];
    });
    body.append(...rows.map((r) => r[2]));
  };
  document.querySelectorAll("table[data-table]").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      head.querySelector("button").addEventListener("click", () => sort(table, i));
    });
  });
  document.querySelectorAll("table[data-table]").forEach((table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 15 || !rows[0].querySelector("td.text")) return;
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.className = "filter";
    input.type = "search";
    input.autocomplete = "off";
    label.append(document.body.dataset.filter, input);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLocaleLowerCase();
      rows.forEach((row) => (row.hidden = !row.textContent.toLocaleLowerCase().includes(wanted)));
    });
    (table.closest(".scroll") || table).before(label);
  });
  document.querySelectorAll(".levels").forEach((figure) => {
    const slider = figure.querySelector(".slider");
    if (!slider) return;
    const input = slider.querySelector("input");
    const levels = [...figure.querySelectorAll(".level")];
    const show = () => {
      levels.forEach((level, i) => (level.hidden = i !== input.value - 1));
      const said = [...levels[input.value - 1].querySelectorAll(".said")];
      const seen = said.find((p) => p.getClientRects().length) || said[0];
      input.setAttribute("aria-valuetext", seen.textContent);
    };
    slider.hidden = false;
    input.addEventListener("input", show);
    show();
  });
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  window.addEventListener("hashchange", open);
  open();
})();
