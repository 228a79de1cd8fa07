// Pages are complete without this script. It copies lines, searches while the reader types
// and reads what changes again. Text from the server is HTML that the server escaped.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

async function text(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  return answer.ok ? answer.text() : null;
}

const field = document.querySelector("[data-results]");
if (field) {
  const results = document.getElementById("list") || document.getElementById("results");
  const first = results.innerHTML;
  let timer, asked = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++asked, query = field.value.trim();
      const html = query ? await text(field.dataset.results + "?part=1&q=" + encodeURIComponent(query)).catch(() => null) : first;
      if (html !== null && mine === asked) results.innerHTML = html;
    }, 150);
  });
}

// What changes comes as a stream while the page is looked at; where there is none, it is asked
// for every three seconds.
for (const part of document.querySelectorAll("[data-live]")) {
  let stream, timer, failures = 0;
  const show = (html) => {
    if (html !== part.innerHTML && !part.contains(document.activeElement)) part.innerHTML = html;
  };
  const poll = () => {
    timer ??= setInterval(async () => {
      const html = await text(part.dataset.live).catch(() => null);
      if (html !== null) show(html);
    }, 3000);
  };
  const stop = () => {
    stream?.close();
    clearInterval(timer);
    stream = timer = undefined;
  };
  const start = () => {
    if (stream || timer) return;
    if (!window.EventSource || failures > 2) return poll();
    stream = new EventSource(part.dataset.stream);
    stream.addEventListener("live", (event) => { failures = 0; show(event.data); });
    stream.addEventListener("error", () => {
      failures++;
      if (stream?.readyState !== EventSource.CLOSED && failures <= 2) return; // it connects again by itself
      stop();
      poll();
    });
  };
  document.addEventListener("visibilitychange", () => document.hidden ? stop() : start());
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", () => { if (!document.hidden) start(); });
  if (!document.hidden) start();
}
