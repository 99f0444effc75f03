// What Sphinx and its theme leave out for keyboards and screen readers.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("pre").forEach((block) => block.setAttribute("tabindex", "0"));
  document.querySelectorAll("p.caption[role=heading]").forEach((line) => line.setAttribute("aria-level", "2"));
});
