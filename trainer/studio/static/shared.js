// What all pages of the studio use: requests, messages, elements.
const toast = document.getElementById("toast");
let timer;

export function say(text, seconds = 6) {
  clearTimeout(timer);
  toast.textContent = text;
  if (seconds) timer = setTimeout(() => { toast.textContent = ""; }, seconds * 1000);
}

export function element(kind, facts = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(facts)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const CLOSED = "The studio has ended, or was started anew. Start it again, and open the address that it prints.";

// The answer to a request, or an error whose message can be shown.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(CLOSED);
  }
  if (answer.ok) return answer;
  if (answer.status === 403 || answer.status === 421) throw new Error(CLOSED);
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || "The studio could not do that.");
}

export async function tell(path, form) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(form) })).json();
}

export function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${number(count / 1e3)} kB` : `${number(count / 1e6, 1)} MB`;
}
