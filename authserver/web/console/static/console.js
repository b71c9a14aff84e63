// What JavaScript adds: times in the reader's zone, and buttons that copy. All else is HTML.
"use strict";

const zoned = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: "medium",
  timeStyle: "short",
});

for (const time of document.querySelectorAll("time[datetime]")) {
  time.textContent = zoned.format(new Date(time.dateTime));
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
