"use strict";
(() => {
  const box = document.getElementById("q");
  const table = document.getElementById("list"), body = table.tBodies[0];
  const empty = document.getElementById("empty"), sum = document.getElementById("sum");
  const onePage = !document.querySelector(".pages");
  let rows = [...body.rows];
  const text = (row) => row.cells[0].textContent;
  const links = () => rows.filter((row) => !row.hidden).map((row) => row.querySelector("a"));
  const all = sum.textContent;

  function search() {
    const wanted = box.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !text(row).toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    empty.hidden = shown > 0;
    empty.textContent = wanted ? `No name contains “${box.value}”.` : "This folder is empty.";
    sum.textContent = wanted ? `${shown} of ${rows.length} shown` : all;
  }

  const keys = {
    name: (a, b) => text(a).localeCompare(text(b), undefined, { numeric: true }),
    size: (a, b) => a.dataset.size - b.dataset.size,
    date: (a, b) => a.dataset.date - b.dataset.date,
  };

  function sort(heading, link) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = keys[link.dataset.key], sign = down ? -1 : 1;
    const folder = (row) => row.classList.contains("folder");
    rows.sort((a, b) => folder(b) - folder(a) || sign * order(a, b) || keys.name(a, b));
    body.append(...rows);
  }

  if (onePage) { // otherwise the server must search and sort, because it has more rows
    box.form.addEventListener("submit", (event) => {
      event.preventDefault();
      links()[0]?.click();
    });
    box.addEventListener("input", search);
    for (const heading of table.tHead.rows[0].cells) {
      const link = heading.querySelector("a");
      link.addEventListener("click", (event) => {
        event.preventDefault();
        sort(heading, link);
      });
    }
  } else {
    let timer;
    box.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => box.form.requestSubmit(), 400);
    });
    if (box.value) {
      box.focus();
      box.setSelectionRange(box.value.length, box.value.length);
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === box;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      box.focus();
    } else if (event.key === "Escape" && typing) {
      box.value = "";
      if (onePage) search();
      box.blur();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const list = links(), at = list.indexOf(document.activeElement);
      if (at < 0 && !typing) return;
      const next = at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
      (list[next] ?? (next < 0 ? box : list[at])).focus();
    } else if (event.key === "Backspace" && !typing) {
      const up = document.querySelectorAll("nav[aria-label=Path] a");
      if (up.length > 1) up[up.length - 2].click();
    }
  });
})();
