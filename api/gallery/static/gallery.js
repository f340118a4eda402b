// The gallery's script: theme, keyboard, live progress, the form. Every page can be browsed without it.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// --- theme ---------------------------------------------------------------------

function currentTheme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
}

function toggleTheme() {
  const theme = currentTheme() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden; the choice then lasts for this page.
  }
}

// --- keyboard: every link and button names its key in aria-keyshortcuts ------------

function isTyping(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

function keyOf(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key.startsWith("Arrow") && event.target.closest(".strip ol, .switch ul, .rail, .table")) return;
  const key = keyOf(event);
  const target = $$("[aria-keyshortcuts]").find((e) => e.getAttribute("aria-keyshortcuts").toLowerCase() === key.toLowerCase());
  if (!target) return;
  event.preventDefault();
  if (target.matches("input")) target.select();
  else target.click();
}

const KEY_NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

function openHelp() {
  const dialog = $("#help");
  const list = $("dl", dialog);
  list.replaceChildren();
  for (const element of $$("[aria-keyshortcuts]")) {
    const key = element.getAttribute("aria-keyshortcuts");
    const term = document.createElement("dt");
    const keycap = document.createElement("kbd");
    keycap.textContent = KEY_NAMES[key] ?? key;
    term.append(keycap);
    const words = document.createElement("dd");
    words.textContent = element.dataset.does ?? element.getAttribute("aria-label") ?? element.textContent.trim();
    list.append(term, words);
  }
  dialog.showModal();
}

// --- live parts: the server draws them again, and only what changed is swapped --------

const LIVE_SECONDS = 2;
const MOST_SECONDS = 30;

function swap(present, fresh) {
  if (present.matches("progress")) {
    present.value = fresh.value;
    present.className = fresh.className;
  } else if (present.innerHTML !== fresh.innerHTML && !present.contains(document.activeElement)) {
    present.replaceChildren(...fresh.childNodes);
  }
}

async function refresh(region) {
  const answer = await fetch(region.dataset.live, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`live part: ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = $("[data-live]", page) ?? $("[data-live-end]", page);
  const ids = (within) => $$("[data-part]", within).map((e) => e.dataset.part).join();
  if (ids(region) === ids(fresh)) {
    for (const part of $$("[data-part]", region)) swap(part, $(`[data-part="${part.dataset.part}"]`, fresh));
  } else {
    region.replaceChildren(...fresh.childNodes);
    bindButtons(region);
  }
  return fresh.hasAttribute("data-live");
}

function keepLive(region) {
  let wait = LIVE_SECONDS;
  const again = async () => {
    if (document.hidden) return void document.addEventListener("visibilitychange", again, { once: true });
    try {
      if (!(await refresh(region))) return;
      wait = LIVE_SECONDS;
    } catch {
      wait = Math.min(wait * 2, MOST_SECONDS); // the server is away: ask less often, never give up
    }
    setTimeout(again, wait * 1000);
  };
  setTimeout(again, wait * 1000);
}

// --- actions: the REST API by script ------------------------------------------------

async function post(address, body, headers = {}, method = "POST") {
  const answer = await fetch(address, {
    method,
    headers: { "Content-Type": "application/json", Accept: "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const document_ = await answer.json().catch(() => ({}));
  if (answer.ok) return document_;
  throw new Error([document_.detail ?? `The server answered ${answer.status}.`, document_.remedy].filter(Boolean).join(" "));
}

function say(element, words, bad = false) {
  element.textContent = words;
  element.classList.toggle("bad", bad);
}

function bindButtons(within = document) {
  for (const button of $$("button[data-post]", within)) {
    button.addEventListener("click", async () => {
      const answer = $(button.dataset.answer);
      button.disabled = true;
      try {
        await post(button.dataset.post, {}, {}, button.dataset.method);
        if (button.dataset.then) location.assign(button.dataset.then);
        else location.reload();
      } catch (error) {
        say(answer, error.message, true);
        button.disabled = false;
      }
    });
  }
}

function wish(form) {
  const fields = new FormData(form);
  const list = (name) => String(fields.get(name) ?? "").split(",").map((s) => s.trim()).filter(Boolean);
  const body = { network: fields.get("network").trim(), recipes: fields.getAll("recipes"), seeds: Number(fields.get("seeds")) };
  if (fields.get("steps")) body.steps = Number(fields.get("steps"));
  if (list("layers").length) body.layers = list("layers");
  return body;
}

function bindForm(form) {
  // One key for one wish: pressing the button twice, or trying again after a lost answer, makes one atlas.
  let key = crypto.randomUUID?.() ?? String(Math.random());
  form.addEventListener("input", () => (key = crypto.randomUUID?.() ?? String(Math.random())));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = $(".answer", form);
    const button = $("button[type=submit]", form);
    button.disabled = true;
    say(answer, "Asking for it …");
    try {
      const atlas = await post(form.dataset.address, wish(form), { "Idempotency-Key": key });
      location.assign(`/atlases/${encodeURIComponent(atlas.id)}`);
    } catch (error) {
      say(answer, error.message, true);
      button.disabled = false;
    }
  });
}

// --- search by picture: dropping one on the form is choosing and sending it -----------------

function bindDrop(form) {
  const over = (event, is) => {
    event.preventDefault();
    form.classList.toggle("over", is);
  };
  form.addEventListener("dragover", (event) => over(event, true));
  form.addEventListener("dragleave", (event) => over(event, false));
  form.addEventListener("drop", (event) => {
    over(event, false);
    if (!event.dataTransfer.files.length) return;
    $("input[type=file]", form).files = event.dataTransfer.files;
    form.requestSubmit();
  });
}

// --- the network page: the rail follows the strips -------------------------------------

function followStrips(rail) {
  const links = new Map($$("a[href^='#']", rail).map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) links.get(entry.target.id)?.classList.toggle("here", entry.isIntersecting);
    },
    { rootMargin: "-15% 0px -25% 0px" },
  );
  for (const id of links.keys()) {
    const target = document.getElementById(id);
    if (target) watcher.observe(target);
  }
}

// --- start ------------------------------------------------------------------------------

document.addEventListener("keydown", onKey);
$("#theme")?.addEventListener("click", toggleTheme);
$("#keys")?.addEventListener("click", openHelp);
for (const button of $$("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(new URL(button.dataset.copy, location).href);
    $("span", button).textContent = "Copied";
  });
}
for (const region of $$("[data-live]")) keepLive(region);
for (const form of $$("form[data-address]")) bindForm(form);
for (const form of $$("form.drop")) bindDrop(form);
for (const rail of $$(".rail")) {
  if (matchMedia("(min-width: 60.01rem)").matches) followStrips(rail);
  else $("details", rail)?.removeAttribute("open");
}
bindButtons();
