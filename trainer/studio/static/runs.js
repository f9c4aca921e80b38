// Follows runs: cards are exchanged when they change, so that what is read or focused stays where it is.
import { ask, element } from "./shared.js";

const place = document.getElementById("runs");
const news = document.getElementById("news");
const EVERY = 2000;
let said = "";

function exchange(card) {
  let shown = place.querySelector(`[data-key="${card.key}"]`);
  if (shown?.dataset.version === card.version) return;
  const open = new Set([...(shown?.querySelectorAll("details[open]") ?? [])].map((each) => each.dataset.keep));
  // Drawn and escaped by the studio; the policy of the page lets nothing in it run.
  const parsed = new DOMParser().parseFromString(card.html, "text/html");
  for (const each of parsed.querySelectorAll("details")) each.open = open.has(each.dataset.keep);
  if (!shown) {
    shown = element("section", { class: "card", "data-key": card.key });
    place.append(shown);
  }
  shown.dataset.version = card.version;
  shown.replaceChildren(...parsed.body.childNodes);
}

async function follow() {
  try {
    const answer = await (await ask("runs/cards")).json();
    answer.cards.forEach(exchange);
    if (answer.said !== said) news.textContent = said = answer.said;
  } catch (error) {
    if (news.textContent !== error.message) news.textContent = error.message;
    said = "";
  }
  setTimeout(follow, document.hidden ? 4 * EVERY : EVERY);
}

follow();
