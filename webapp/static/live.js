// The sign that says how a page stays up to date, and the asking where push is not there.
//
// #live holds the stream (hx-sse). The parts of the page that stay up to date ask again at its event "news", whether the
// server sent that or this script, because nobody pushes or because it is time to look all the same.
(() => {
  "use strict";

  const sign = document.getElementById("live");
  if (!sign) return;

  // Milliseconds.
  const POLL = Number(sign.dataset.poll) * 1000;
  // Even with push: what nobody announces, such as a worker that has fallen silent.
  const LOOK = 30_000;
  // The server speaks every 15 s; a stream that is silent for longer is dead, whatever the network says.
  const SILENCE = 35_000;
  const RECONNECT = 10_000;
  const LISTENERS = '[hx-trigger~="from:#live"]';

  const WORDS = {
    live: "Changes appear here as they happen.",
    polling: `Live updates are not available. This page refreshes every ${sign.dataset.poll} s.`,
    disconnected: "The server does not answer. This page may be out of date.",
  };

  const push = Boolean(sign.dataset.stream);
  let stream = null;
  let pushed = false;
  let answered = true;
  let asked = Date.now();
  let heard = 0;
  let tried = Date.now();

  function show() {
    const state = !answered ? "disconnected" : pushed ? "live" : "polling";
    if (sign.dataset.state === state) return;
    sign.dataset.state = state;
    sign.textContent = state;
    sign.title = WORDS[state];
    sign.hidden = false;
  }

  function ask() {
    htmx.trigger(sign, "news");
  }

  function hear(live) {
    heard = Date.now();
    pushed = live;
    show();
  }

  function lose() {
    pushed = false;
    show();
  }

  function tick() {
    if (document.hidden) return;
    const now = Date.now();
    if (stream && now - heard > SILENCE) {
      heard = now;
      lose();
      stream.reader?.cancel();
    }
    if (push && !stream && now - tried >= RECONNECT) {
      tried = now;
      htmx.trigger(sign, "connect");
    }
    if (now - asked >= (pushed && answered ? LOOK : POLL)) ask();
  }

  // A page whose last part came without its trigger, such as a run that has ended, needs nothing more.
  function stopWhenDone() {
    if (document.querySelector(LISTENERS)) return;
    clearInterval(timer);
    const reader = stream?.reader;
    sign.remove();
    reader?.cancel();
  }

  sign.addEventListener("live", () => hear(true));
  sign.addEventListener("away", () => hear(false));
  sign.addEventListener("news", () => (asked = Date.now()));
  sign.addEventListener("ended", () => {
    lose();
    ask();
  });
  sign.addEventListener("htmx:sse:before:connection", (event) => {
    stream = event.detail.connection;
    heard = tried = Date.now();
  });
  sign.addEventListener("htmx:sse:error", () => {
    lose();
    ask();
  });
  sign.addEventListener("htmx:sse:close", () => {
    stream = null;
    tried = Date.now();
    lose();
  });

  document.addEventListener("htmx:after:request", (event) => {
    if (event.target.matches?.(LISTENERS)) {
      answered = event.detail.ctx.response.status < 500;
      show();
    }
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.target.matches?.(LISTENERS) && !event.detail?.ctx?.response) {
      answered = false;
      show();
    }
  });
  document.addEventListener("htmx:after:swap", stopWhenDone);

  // A hidden page asks for nothing, and hx-sse closes its stream; seen again, it catches up.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) lose();
    else ask();
  });

  const timer = setInterval(tick, 1000);
  if (push) {
    // After htmx has begun, which it may do before it knows its extension hx-sse: scripts come as the network brings them.
    setTimeout(() => {
      sign.setAttribute("hx-sse:connect", sign.dataset.stream);
      htmx.process(sign);
    });
  } else {
    show();
  }
})();
