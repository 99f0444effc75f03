// Keys, zoom, focus and speech around the components; no answer is stored here, the server decides.
() => {
  const KEYS = "croc-keys-off";
  const byId = (id) => document.getElementById(id);
  const button = (id) => { const found = byId(id); return found && (found.matches("button") ? found : found.querySelector("button")); };
  const shown = (element) => !!element && element.offsetParent !== null;
  const item = () => document.querySelector("#card article.item");
  const on = () => { try { return localStorage.getItem(KEYS) !== "1"; } catch { return true; } };
  let pending = null, since = 0;

  // One answer an item: until the next item is there, or something went wrong, further ones are ignored.
  const waiting = () => pending !== null && item()?.dataset.offer === pending && Date.now() - since < 8000;
  document.addEventListener("click", (event) => {
    const answer = event.target.closest?.(".answers button");
    if (!answer || !item()) return;
    if (waiting()) { event.stopImmediatePropagation(); event.preventDefault(); return; }
    pending = item().dataset.offer; since = Date.now();
    document.querySelectorAll(".answers button").forEach((each) => each.setAttribute("aria-disabled", "true"));
    answer.classList.add("chosen");
  }, true);
  const free = () => {
    pending = null;
    document.querySelectorAll(".answers button").forEach((each) => { each.removeAttribute("aria-disabled"); each.classList.remove("chosen"); });
  };

  const zoom = (opener) => {
    const image = opener?.querySelector("img");
    if (!image || document.querySelector("dialog.zoomed")) return;
    const dialog = document.createElement("dialog");
    dialog.className = "zoomed"; dialog.setAttribute("aria-label", "The image, larger");
    const large = image.cloneNode(); large.removeAttribute("width"); large.removeAttribute("height");
    let scale = Math.min(innerWidth / image.naturalWidth, innerHeight / image.naturalHeight);
    const size = (factor) => { scale = Math.min(16, Math.max(0.25, scale * factor)); large.style.width = `${image.naturalWidth * scale}px`; };
    size(1);
    const form = document.createElement("form"); form.method = "dialog";
    for (const [sign, label, act] of [["+", "Larger", () => size(1.4)], ["−", "Smaller", () => size(1 / 1.4)], ["×", "Close", () => dialog.close()]]) {
      const one = document.createElement("button"); one.type = "button"; one.textContent = sign; one.setAttribute("aria-label", label);
      one.addEventListener("click", act); form.append(one);
    }
    large.addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") size(1.4);
      else if (event.key === "-") size(1 / 1.4);
      else if (event.key === "z") dialog.close();
      event.stopPropagation();
    });
    dialog.addEventListener("close", () => { dialog.remove(); (opener.isConnected ? opener : item()?.querySelector(".zoom"))?.focus(); });
    dialog.append(large, form); (document.querySelector(".gradio-container") ?? document.body).append(dialog); dialog.showModal();
  };
  document.addEventListener("click", (event) => zoom(event.target.closest?.(".zoom")));

  document.addEventListener("keydown", (event) => {
    const writes = event.target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
    if (writes) { if (event.key === "Escape") { event.target.blur(); byId("question")?.focus(); } return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !on() || !shown(item())) return;
    const key = event.key.toLowerCase(), task = item().dataset.task;
    const answers = {
      shows: { y: "shows-yes", n: "shows-no", u: "shows-unsure" },
      rating: { 1: "rating-1", 2: "rating-2", 3: "rating-3", 4: "rating-4", 5: "rating-5" },
      preference: { 1: "preference-first", 2: "preference-second", u: "preference-unsure" },
    }[task] ?? {};
    let act = null;
    if (key in answers) act = () => button(answers[key])?.click();
    else if (key === "b" || key === "backspace") act = () => { if (!waiting()) button("back")?.click(); };
    else if (key === "z") act = () => zoom(item().querySelector(".zoom"));
    else if (key === "r") act = () => byId("reason")?.querySelector("textarea, input")?.focus();
    if (act) { event.preventDefault(); act(); }
  });

  const mark = () => {
    const status = byId("status");
    if (status && !status.hasAttribute("role")) { status.setAttribute("role", "status"); status.setAttribute("aria-live", "polite"); }
    const keys = byId("keys-on")?.querySelector("input");
    if (keys && !keys.dataset.ready) {
      keys.dataset.ready = "1"; if (keys.checked !== on()) keys.click();
      keys.addEventListener("change", () => { try { localStorage.setItem(KEYS, keys.checked ? "0" : "1"); } catch { /* private window */ } });
    }
    document.documentElement.lang = "en";
  };
  let last = null;
  new MutationObserver(() => {
    mark();
    const now = item()?.dataset.offer ?? null;
    if (now !== last) {
      last = now; free();
      const place = item()?.getBoundingClientRect();
      if (place && (place.top < 0 || place.top > innerHeight / 2)) scrollTo({ top: 0 });
      // Who writes or goes by Tab elsewhere is left there; the others are put before the new question.
      const active = document.activeElement;
      const moves = !active || active === document.body || active.closest(".answers, #card, #begin, #back, #go-on, #again, #pause-back, #resume-button");
      if (now && moves) byId("question")?.focus({ preventScroll: true });
    }
    if (byId("status")?.querySelector(".wrong")) free();
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
  mark();
}
