// Folds away what lies under a span of a trace. The rows come in the order of the tree, each with its depth: what follows a
// folded row and is deeper is hidden. Without this script everything is shown, and the buttons are not.
(function () {
  "use strict";

  document.addEventListener("DOMContentLoaded", function () {
    const rows = Array.from(document.querySelectorAll(".hub-row"));
    const foldOf = new Map(rows.map((row) => [row, row.querySelector(".hub-fold")]));

    function depth(row) {
      return Number(row.dataset.depth);
    }

    function isFolded(row) {
      return foldOf.get(row) !== null && foldOf.get(row).getAttribute("aria-expanded") === "false";
    }

    function fold(row, folded) {
      if (foldOf.get(row) !== null) foldOf.get(row).setAttribute("aria-expanded", String(!folded));
    }

    function show() {
      let foldedAt = Infinity;
      for (const row of rows) {
        row.hidden = depth(row) > foldedAt;
        if (!row.hidden) foldedAt = isFolded(row) ? depth(row) : Infinity;
      }
    }

    // A link to a span leads to it wherever it is folded away.
    function reveal() {
      const wanted = rows.findIndex((row) => `#${row.id}` === window.location.hash);
      if (wanted < 0) return;
      let above = depth(rows[wanted]);
      for (const row of rows.slice(0, wanted).reverse()) {
        if (depth(row) < above) {
          fold(row, false);
          above = depth(row);
        }
      }
      show();
      rows[wanted].querySelector("details").open = true;
      rows[wanted].scrollIntoView({ block: "center" });
    }

    for (const row of rows) {
      const button = foldOf.get(row);
      if (button === null) continue;
      button.hidden = false;
      button.addEventListener("click", function () {
        fold(row, !isFolded(row));
        show();
      });
    }
    const all = document.querySelector("#hub-folds");
    if (all === null || rows.every((row) => foldOf.get(row) === null)) return;
    all.hidden = false;
    all.addEventListener("click", function (event) {
      const wanted = event.target.dataset.fold;
      if (wanted === undefined) return;
      for (const row of rows) fold(row, wanted === "all" && depth(row) > 0);
      show();
    });
    window.addEventListener("hashchange", reveal);
    reveal();
  });
})();
