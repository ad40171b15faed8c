// What pages gain where JavaScript runs; nothing here is needed to use them.
(() => {
  "use strict";

  // The same steps as webapp/web/formats.py.
  const STEPS = [
    [60, 1, "s"],
    [3600, 60, "min"],
    [48 * 3600, 3600, "h"],
    [60 * 86400, 86400, "days"],
    [730 * 86400, 30 * 86400, "months"],
    [Infinity, 365 * 86400, "years"],
  ];

  const MENUS = ".user-menu[open], .drop[open]:has(.drop-menu)";

  function ago(moment, now) {
    const seconds = (now - moment) / 1000;
    const distance = Math.abs(seconds);
    if (distance < 1) return "now";
    const [, size, unit] = STEPS.find(([limit]) => distance < limit);
    const text = `${Math.floor(distance / size)} ${unit}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  function countdown(moment, now) {
    const left = Math.max(Math.ceil((moment - now) / 1000), 0);
    const two = (number) => String(number).padStart(2, "0");
    const [days, hours, minutes] = [Math.floor(left / 86400), Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60];
    const clock = left >= 3600 ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
    return days ? `${days} d ${clock}` : clock;
  }

  function refreshTimes() {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-ago], time[data-countdown]")) {
      const words = "ago" in element.dataset ? ago : countdown;
      const text = words(Date.parse(element.dateTime), Date.now());
      if (element.textContent !== text) element.textContent = text;
    }
  }

  function say(text) {
    const notices = document.getElementById("notices");
    if (!notices || notices.querySelector("[data-lost]")) return;
    const notice = document.createElement("div");
    notice.className = "alert alert-warning notice";
    notice.dataset.lost = "";
    notice.setAttribute("role", "alert");
    notice.textContent = text;
    notices.append(notice);
    markTitle();
  }

  // What is wrong shows in the title too, for whoever looks at another tab.
  function markTitle() {
    const wrong = document.querySelector("#health > *, [data-lost]");
    const title = document.title.replace(/^\(!\) /, "");
    if (document.title !== (wrong ? `(!) ${title}` : title)) document.title = wrong ? `(!) ${title}` : title;
  }

  document.addEventListener("click", (event) => {
    const close = event.target.closest("[data-dismiss]");
    if (close) {
      event.preventDefault();
      close.closest(`.${close.dataset.dismiss}`).remove();
    }
    for (const menu of document.querySelectorAll(MENUS)) {
      if (!menu.contains(event.target) || event.target.closest(".drop-item")) menu.open = false;
    }
  });

  // A link to a text; where the browser lets us write to the clipboard, it copies the text instead.
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-copy]");
    if (!link || !navigator.clipboard || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href);
      if (!answer.ok) throw new Error(answer.statusText);
      await navigator.clipboard.writeText(await answer.text());
      link.querySelector("[role=status]").textContent = "copied";
    } catch {
      window.location.assign(link.href);
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll(MENUS)) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // In the capture phase: a form that htmx sends is asked about before htmx hears of it.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);

  // What the reader has opened or closed stays so when that part of the page is refreshed.
  window.htmx?.config.morphIgnore.push("open");

  document.addEventListener("htmx:error", (event) => {
    if (!event.detail?.ctx?.response) say("The server does not answer. This page may be out of date.");
  });
  document.addEventListener("htmx:after:request", () => {
    document.querySelector("[data-lost]")?.remove();
    markTitle();
  });
  document.addEventListener("htmx:after:swap", markTitle);

  // A page that nobody sees asks for nothing; it catches up when it is seen again.
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.getAttribute?.("hx-trigger")?.startsWith("every")) event.preventDefault();
  });

  // What an editor's preview finds wrong is said at its field too; what is typed and the cursor stay as they are.
  function sayAtFields(form) {
    const told = new Map();
    for (const error of form.querySelectorAll("[data-error-at]")) {
      told.set(error.dataset.errorAt, (error.querySelector(".error-text") ?? error).textContent.trim());
    }
    for (const control of form.querySelectorAll(".form-control[id], .form-select[id]")) {
      sayAt(control, told.get(control.name));
    }
  }

  function sayAt(control, text) {
    const id = `${control.id}-error`;
    const slot = document.getElementById(id);
    const about = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((name) => name && name !== id);
    control.classList.toggle("is-invalid", Boolean(text));
    if (text) {
      const place = slot ?? document.createElement("div");
      place.id = id;
      place.className = "field-error";
      if (place.textContent !== text) place.textContent = text;
      if (!slot) control.after(place);
      control.setAttribute("aria-invalid", "true");
      about.unshift(id);
    } else {
      slot?.remove();
      control.removeAttribute("aria-invalid");
    }
    if (about.length) control.setAttribute("aria-describedby", about.join(" "));
    else control.removeAttribute("aria-describedby");
  }

  document.addEventListener("htmx:after:swap", (event) => {
    const form = event.target.closest?.("form[data-says-errors]");
    if (form?.querySelector("#preview[data-answer]")) sayAtFields(form);
  });

  setInterval(refreshTimes, 1000);
  document.addEventListener("visibilitychange", refreshTimes);
})();
