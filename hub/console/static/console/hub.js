// Keeps the parts of a page marked data-live fresh, by asking for the page itself again. It pauses while the tab is
// hidden, and never replaces a part in which somebody has opened or is typing something.
(function () {
  "use strict";

  function isBusy(part) {
    return part.querySelector("details[open]") !== null || part.contains(document.activeElement);
  }

  function refresh(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (other !== null && !isBusy(part)) {
        part.className = other.className;
        part.innerHTML = other.innerHTML;
      }
    }
    const page = document.querySelector("[data-poll]");
    const freshPage = fresh.querySelector("[data-poll]");
    if (page !== null && freshPage !== null) {
      page.dataset.poll = freshPage.dataset.poll;
      markStale(page, false);
    }
  }

  // What stands on a page that nobody answers for any more may be long over: a run that still goes forward, a queue that is empty.
  function markStale(page, isStale) {
    const known = page.querySelector(":scope > .hub-stale-note");
    if (!isStale) known?.remove();
    if (!isStale || known !== null) return;
    const note = document.createElement("p");
    note.className = "hub-stale-note";
    note.setAttribute("role", "status");
    note.textContent = "The hub did not answer the last look, or you are logged out: what is shown may be old. Load the page again.";
    page.prepend(note);
  }

  async function poll(page) {
    if (!document.hidden) {
      try {
        const answer = await fetch(window.location.href, { signal: AbortSignal.timeout(10000), redirect: "error" });
        if (answer.ok) refresh(await answer.text());
        else markStale(page, true);
      } catch {
        markStale(page, true);
      }
    }
    window.setTimeout(poll, Number(page.dataset.poll), page);
  }

  document.addEventListener("DOMContentLoaded", function () {
    const page = document.querySelector("[data-poll]");
    if (page !== null) window.setTimeout(poll, Number(page.dataset.poll), page);
  });

  // The hub would refuse it, and the page that comes back then is empty: what was typed is put right here.
  function whyNoJson(text) {
    try {
      const found = text.trim() === "" ? {} : JSON.parse(text);
      return found !== null && typeof found === "object" && !Array.isArray(found) ? "" : "This must be a JSON object: {...}";
    } catch (error) {
      return `This is not JSON: ${error.message}`;
    }
  }

  document.addEventListener("input", function (event) {
    if (event.target.dataset.json !== undefined) event.target.setCustomValidity(whyNoJson(event.target.value));
  });

  // A second submit of the same form would be harmless (its token acts once), but need not be sent.
  document.addEventListener("submit", function (event) {
    const form = event.target;
    if (!form.closest(".hub-action")) return;
    if (form.dataset.sent !== undefined) event.preventDefault();
    form.dataset.sent = "";
  });
})();
