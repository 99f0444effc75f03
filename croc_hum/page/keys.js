// Keyboard shortcuts, zoom, focus and screen reader. No answer is stored here: the server decides.
() => {
  const SHORTCUTS_OFF = "croc-keys-off";
  const byId = (id) => document.getElementById(id);
  const findButton = (id) => { const element = byId(id); return element && (element.matches("button") ? element : element.querySelector("button")); };
  const isVisible = (element) => !!element && element.offsetParent !== null;
  const currentItem = () => document.querySelector("#card article.item");
  const answerButtons = () => document.querySelectorAll(".answers button");
  const shortcutsEnabled = () => { try { return localStorage.getItem(SHORTCUTS_OFF) !== "1"; } catch { return true; } };
  let pendingOffer = null, pendingSince = 0;

  // One answer per item: until the next item or an error is shown, further answers are ignored.
  const isPending = () => pendingOffer !== null && currentItem()?.dataset.offer === pendingOffer && Date.now() - pendingSince < 8000;
  document.addEventListener("click", (event) => {
    const answer = event.target.closest?.(".answers button");
    if (!answer || !currentItem()) return;
    if (isPending()) { event.stopImmediatePropagation(); event.preventDefault(); return; }
    pendingOffer = currentItem().dataset.offer; pendingSince = Date.now();
    answerButtons().forEach((button) => button.setAttribute("aria-disabled", "true"));
    answer.classList.add("chosen");
  }, true);
  const enableAnswers = () => {
    pendingOffer = null;
    answerButtons().forEach((button) => { button.removeAttribute("aria-disabled"); button.classList.remove("chosen"); });
  };

  const zoom = (opener) => {
    const image = opener?.querySelector("img");
    if (!image || document.querySelector("dialog.zoomed")) return;
    const dialog = document.createElement("dialog");
    dialog.className = "zoomed"; dialog.setAttribute("aria-label", "The enlarged image");
    const large = image.cloneNode(); large.removeAttribute("width"); large.removeAttribute("height");
    let scale = Math.min(innerWidth / image.naturalWidth, innerHeight / image.naturalHeight);
    const resize = (factor) => { scale = Math.min(16, Math.max(0.25, scale * factor)); large.style.width = `${image.naturalWidth * scale}px`; };
    resize(1);
    const form = document.createElement("form"); form.method = "dialog";
    for (const [sign, label, action] of [["+", "Zoom in", () => resize(1.4)], ["−", "Zoom out", () => resize(1 / 1.4)], ["×", "Close", () => dialog.close()]]) {
      const button = document.createElement("button"); button.type = "button"; button.textContent = sign; button.setAttribute("aria-label", label);
      button.addEventListener("click", action); form.append(button);
    }
    large.addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") resize(1.4);
      else if (event.key === "-") resize(1 / 1.4);
      else if (event.key === "z") dialog.close();
      event.stopPropagation();
    });
    dialog.addEventListener("close", () => { dialog.remove(); (opener.isConnected ? opener : currentItem()?.querySelector(".zoom"))?.focus(); });
    dialog.append(large, form); (document.querySelector(".gradio-container") ?? document.body).append(dialog); dialog.showModal();
  };
  document.addEventListener("click", (event) => zoom(event.target.closest?.(".zoom")));

  document.addEventListener("keydown", (event) => {
    const isTextField = event.target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
    if (isTextField) { if (event.key === "Escape") { event.target.blur(); byId("question")?.focus(); } return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !shortcutsEnabled() || !isVisible(currentItem())) return;
    const key = event.key.toLowerCase(), task = currentItem().dataset.task;
    const answers = {
      shows: { y: "shows-yes", n: "shows-no", u: "shows-unsure" },
      rating: { 1: "rating-1", 2: "rating-2", 3: "rating-3", 4: "rating-4", 5: "rating-5" },
      preference: { 1: "preference-first", 2: "preference-second", u: "preference-unsure" },
    }[task] ?? {};
    let action = null;
    if (key in answers) action = () => findButton(answers[key])?.click();
    else if (key === "b" || key === "backspace") action = () => { if (!isPending()) findButton("undo")?.click(); };
    else if (key === "z") action = () => zoom(currentItem().querySelector(".zoom"));
    else if (key === "r") action = () => byId("reason")?.querySelector("textarea, input")?.focus();
    if (action) { event.preventDefault(); action(); }
  });

  const completePage = () => {
    const status = byId("status");
    if (status && !status.hasAttribute("role")) { status.setAttribute("role", "status"); status.setAttribute("aria-live", "polite"); }
    const shortcuts = byId("shortcuts")?.querySelector("input");
    if (shortcuts && !shortcuts.dataset.ready) {
      shortcuts.dataset.ready = "1"; if (shortcuts.checked !== shortcutsEnabled()) shortcuts.click();
      shortcuts.addEventListener("change", () => { try { localStorage.setItem(SHORTCUTS_OFF, shortcuts.checked ? "0" : "1"); } catch { /* private window */ } });
    }
    document.documentElement.lang = "en";
  };
  const FOCUS_MOVES_FROM = ".answers, #card, #begin, #undo, #use-code, #pause-resume, #pause-undo, #end-resume";
  let lastOffer = null;
  new MutationObserver(() => {
    completePage();
    const offer = currentItem()?.dataset.offer ?? null;
    if (offer !== lastOffer) {
      lastOffer = offer; enableAnswers();
      const place = currentItem()?.getBoundingClientRect();
      if (place && (place.top < 0 || place.top > innerHeight / 2)) scrollTo({ top: 0 });
      // The focus moves to the new question, unless it is in a text field or on another control.
      const active = document.activeElement;
      const moves = !active || active === document.body || active.closest(FOCUS_MOVES_FROM);
      if (offer && moves) byId("question")?.focus({ preventScroll: true });
    }
    if (byId("status")?.querySelector(".error")) enableAnswers();
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
  completePage();
}
