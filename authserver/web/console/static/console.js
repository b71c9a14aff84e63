// What JavaScript adds: times in the reader's zone, and buttons that copy. All else is HTML.
"use strict";

const zoned = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "short",
});

for (const time of document.querySelectorAll("time[datetime]")) {
  time.textContent = zoned.format(new Date(time.dateTime));
}

// A passkey: the page has what the browser is asked, and the form takes its answer.
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const publicKey = JSON.parse(form.dataset.options);
  const makes = form.dataset.passkey === "make";
  const button = form.querySelector("button[data-asks]");
  const refusal = form.querySelector(".wrong");
  const ready = window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON;
  form.hidden = !ready && !makes;
  button.disabled = !ready;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    try {
      const credential = makes
        ? await navigator.credentials.create({
            publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey),
          })
        : await navigator.credentials.get({
            publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey),
          });
      form.elements.passkey.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch (error) {
      refusal.textContent = error.message;
      refusal.hidden = false;
    }
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  const text = button.closest(".copied").querySelector("pre").textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
}
