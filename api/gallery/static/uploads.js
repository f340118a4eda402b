// Forms that send a file: what was sent so far is shown, and the page of what is made of it is opened.

const PROBLEM = "The server did not answer.";

function say(form, words, bad = false) {
  const answer = form.querySelector(".answer");
  answer.textContent = words;
  answer.classList.toggle("bad", bad);
}

// A form's fields; boxes of one name become one text with commas.
function body(form) {
  const fields = new FormData(form);
  for (const name of new Set([...form.querySelectorAll("input[type=checkbox]")].map((box) => box.name))) {
    fields.set(name, fields.getAll(name).join(","));
  }
  return fields;
}

// XMLHttpRequest, as fetch does not tell how much has been sent.
function send(form, fields) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.dataset.upload);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      const sent = event.total ? Math.floor((100 * event.loaded) / event.total) : 0;
      say(form, sent < 100 ? `Sending it … ${sent} %` : "Looking at it …");
    });
    request.addEventListener("error", () => reject(new Error(PROBLEM)));
    request.addEventListener("load", () => {
      const document_ = request.response ?? {};
      if (request.status < 300) resolve(document_);
      else reject(new Error([document_.detail ?? PROBLEM, document_.remedy].filter(Boolean).join(" ")));
    });
    request.send(fields);
  });
}

async function onSubmit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    const job = await send(form, body(form));
    location.assign(form.dataset.page + encodeURIComponent(job.id));
  } catch (error) {
    say(form, error.message, true);
    button.disabled = false;
  }
}

for (const form of document.querySelectorAll("form[data-upload]")) form.addEventListener("submit", onSubmit);
