// Makes the columns of tables sortable, by mouse or keyboard; the page is complete without it.
(() => {
  const number = (text) => {
    const found = text.replace("\u2212", "-").match(/^[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : null;
  };
  const compare = (a, b, up) => {
    const [x, y] = [number(a), number(b)];
    const [none, other] = [a === "" || a === "-", b === "" || b === "-"];
    if (none || other) return none - other;
    const order = x !== null && y !== null ? x - y : a.localeCompare(b);
    return up ? order : -order;
  };
  for (const table of document.querySelectorAll(".scroll table")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.title = "sort";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        const text = (row) => row.cells[column].textContent.trim();
        body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), up)));
      });
    });
  }
})();
