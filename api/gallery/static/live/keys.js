// The toolbox's keys. The page's buttons name their own (aria-keyshortcuts), which the gallery's script presses and
// lists in its help; here is what comes with Shift, and with more than one key for the same.

const SAME = { j: "ArrowLeft", l: "ArrowRight", i: "ArrowUp", k: "ArrowDown" };

export function bindKeys(move) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.target.closest("input, textarea, select")) return;
      const key = SAME[event.key.toLowerCase()] ?? event.key;
      if (!key.startsWith("Arrow")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      move(key, event.shiftKey);
    },
    { capture: true },
  );
}
