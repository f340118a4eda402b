// Runs before the page is drawn: a chosen theme never flashes, and what needs a script is shown.
const root = document.documentElement;
root.classList.add("scripted");
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme holds then.
}
