(() => {
  "use strict";
  const value = (row, column) => row.cells[column].dataset.value ?? "";

  // Absent values stay last whichever way a column is sorted.
  function sort(table, column, kind, descending) {
    const body = table.tBodies[0];
    const sign = descending ? -1 : 1;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (kind === "text" ? x.localeCompare(y) : Number(x) - Number(y));
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const label = heading.querySelector(".head");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "head";
      button.textContent = label.textContent;
      label.replaceWith(button);
      button.addEventListener("click", () => {
        const kind = heading.dataset.sort;
        const current = heading.getAttribute("aria-sort");
        const descending = current ? current === "ascending" : kind === "down";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, kind, descending);
      });
    });
  }

  // A link to a run opens it, also in browsers that do not open a closed <details> by themselves.
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target && target.closest("details");
    if (!details) return;
    details.open = true;
    details.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();

  // One clip sounds at a time.
  document.addEventListener("play", (event) => {
    for (const video of document.querySelectorAll("video")) if (video !== event.target) video.pause();
  }, true);
})();
