/* What our pages do beyond being read: tables sort by their columns' heads, and paper shows every fold.
   sortable.js moves the rows; here are the buttons for the keyboard and the values that it compares.
   A table stays as it is with the class `fixed` or `heat`, a column with `no-sort` on its head; a cell's
   own `data-sort` is compared in place of its text. */
(() => {
  "use strict";
  const UNITS = { "": 1, "%": 0.01, byte: 1, bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
  const NUMBER = /^(?:above )?([+−-]?)(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)\s*(%|bytes?|[kMGT]B)?(?![\w-])/;
  const NOT_KNOWN = new Set(["", "—", "–", "-"]);

  const shown = (cell) => {
    if (cell.dataset.sort !== undefined) return cell.dataset.sort;
    const nodes = [...cell.childNodes];
    const end = nodes.findIndex((node) => node.nodeName === "BR");
    // What stands below the first line of a cell explains it.
    return nodes.slice(0, end < 0 ? nodes.length : end).map((node) => node.textContent).join("").trim();
  };

  const quantity = (text) => {
    const found = NUMBER.exec(text);
    if (!found) return "";
    const [, sign, digits, unit = ""] = found;
    return String((sign && sign !== "+" ? -1 : 1) * Number(digits.replaceAll(",", "")) * UNITS[unit]);
  };

  const isNumber = (text) => NUMBER.exec(text)?.[0].length === text.length;

  // The letter keeps "10" from being compared as a number with its neighbours, which are words;
  // the zeros let pay_2 stand before pay_10.
  const words = (text) =>
    NOT_KNOWN.has(text) ? "" : `x${text.replace(/(?<![\d.])\d+/g, (digits) => digits.padStart(15, "0"))}`;

  const column = (head) =>
    [...head.closest("table").tBodies]
      .flatMap((body) => [...body.rows])
      .map((row) => row.cells[head.cellIndex])
      .filter((cell) => cell !== undefined);

  // Sets what is compared in each cell of the column; tells whether they are numbers.
  const prepare = (head) => {
    const cells = column(head);
    const texts = cells.map(shown);
    const known = texts.filter((text) => !NOT_KNOWN.has(text));
    const numbers = known.every(isNumber) || (head.classList.contains("n") && known.some((t) => quantity(t) !== ""));
    cells.forEach((cell, n) => (cell.dataset.sort = numbers ? quantity(texts[n]) : words(texts[n])));
    return numbers ? "numbers" : "words";
  };

  const isSortable = (table) =>
    table.tHead?.rows.length === 1 &&
    [...table.tBodies].reduce((rows, body) => rows + body.rows.length, 0) > 2 &&
    !table.tHead.querySelector("[colspan]") &&
    !table.querySelector("[rowspan]");

  for (const table of document.querySelectorAll("main table:not(.fixed, .heat)")) {
    if (!isSortable(table)) continue;
    table.classList.add("sortable", "n-last");
    for (const head of table.tHead.rows[0].cells) {
      if (!head.textContent.trim()) head.classList.add("no-sort");
      if (head.classList.contains("no-sort")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
    }
  }

  // Before sortable.js hears of the click: words first rise, numbers first fall.
  document.addEventListener(
    "click",
    (event) => {
      const head = event.target.closest?.("table.sortable > thead th:not(.no-sort)");
      if (!head) return;
      head.dataset.column ??= prepare(head);
      head.closest("table").classList.toggle("asc", head.dataset.column === "words");
    },
    true,
  );

  // A chart that is wider than a narrow screen can be moved by the keyboard too.
  const reach = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll("main figure").forEach((figure) => reach.observe(figure));

  // On paper nothing can be unfolded, and a link to a file beside this one leads nowhere.
  let folds = [];
  let links = [];
  const leave = () => {
    folds.forEach((fold) => (fold.open = false));
    links.forEach(([link, target]) => link.setAttribute("href", target));
    folds = links = [];
  };
  addEventListener("beforeprint", () => {
    leave();
    folds = [...document.querySelectorAll("details:not([open])")];
    folds.forEach((fold) => (fold.open = true));
    links = [...document.querySelectorAll("a[href]")]
      .map((link) => [link, link.getAttribute("href")])
      .filter(([, target]) => !/^(#|https?:|mailto:)/.test(target));
    links.forEach(([link]) => link.removeAttribute("href"));
  });
  addEventListener("afterprint", leave);
})();
