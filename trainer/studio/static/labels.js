// The labelling page: one picture at a time, saved when the person goes on.
import { ask, element, number, say, tell } from "./shared.js";

const at = (name) => document.getElementById(name);
let all = { pictures: [], attributes: {}, suggestions: {}, kinds: [] };
let place = 0;
let added = { attributes: [], kinds: [] };
let address = null;

const current = () => all.pictures[place];

function title(name) {
  return current().proposed.includes(name) ? `${name} (proposed: check it)` : name;
}

function field(name, value, options = []) {
  const id = `field-${crypto.randomUUID()}`;
  const list = options.length ? `${id}-list` : null;
  const input = element("input", { type: "text", id, "data-name": name, value, list, autocomplete: "off" });
  const parts = [element("label", { for: id, text: title(name) }), input];
  if (list) parts.push(element("datalist", { id: list }, ...options.map((each) => element("option", { value: each }))));
  return element("div", { class: "field" }, ...parts);
}

function question({ question: text, choices, answer }) {
  if (!choices.length) return field(text, answer, all.suggestions[text]);
  const name = `choice-${crypto.randomUUID()}`;
  return element("fieldset", { "data-name": text },
    element("legend", { text: title(text) }),
    element("div", { class: "choices" }, ...choices.map((choice, index) => element("label", {},
      element("input", { type: "radio", name, value: choice, checked: choice === answer }),
      element("span", { text: choice }),
      ...(index < 9 ? [element("kbd", { "aria-hidden": "true", text: index + 1 })] : [])))));
}

async function show(focus = false) {
  const picture = current();
  const complete = all.pictures.filter((each) => each.is_complete).length;
  at("done").max = Math.max(1, all.pictures.length);
  at("done").value = complete;
  at("count").textContent = `${number(complete)} of ${number(all.pictures.length)} pictures are complete.`;
  at("save").disabled = !picture;
  if (!picture) { at("picture-name").textContent = "There is no picture in the data set."; return; }
  at("picture-name").textContent = `${place + 1} of ${all.pictures.length}: ${picture.image}`;
  at("questions").replaceChildren(...picture.answers.map(question));
  const attributes = [...new Set([...Object.keys(all.attributes), ...added.attributes])];
  at("attributes").replaceChildren(...attributes.map((name) => field(name, picture.private[name] ?? "", all.attributes[name])));
  const kinds = [...new Set([...all.kinds, ...added.kinds])];
  at("texts").replaceChildren(...kinds.map((name) => field(name, picture.texts[name] ?? "")));
  if (focus) at("questions").querySelector("input")?.focus();
  try {
    const blob = await (await ask(`labels/picture?image=${encodeURIComponent(picture.image)}`)).blob();
    if (picture !== current()) return;
    if (address) URL.revokeObjectURL(address);
    address = at("picture").src = URL.createObjectURL(blob);
  } catch (error) { at("picture").removeAttribute("src"); say(error.message); }
}

function fields(part) {
  return Object.fromEntries([...at(part).querySelectorAll("input[data-name]")].map((each) => [each.dataset.name, each.value]));
}

function said() {
  const answers = fields("questions");
  for (const set of at("questions").querySelectorAll("fieldset")) {
    answers[set.dataset.name] = set.querySelector("input:checked")?.value ?? "";
  }
  return { answers, private: fields("attributes"), texts: fields("texts") };
}

async function save() {
  const picture = current();
  if (!picture) return;
  at("save").disabled = true;
  try {
    all = await tell("labels/save", { image: picture.image, version: picture.version, ...said() });
    place = Math.min(place + 1, all.pictures.length - 1);
    say(`Saved ${picture.image}.`, 3);
    await show(true);
  } catch (error) { say(error.message, 12); }
  at("save").disabled = false;
}

async function undo() {
  try {
    const answer = await tell("labels/undo", {});
    all = answer;
    if (answer.undone === null) { say("Nothing was saved since the studio was started."); return; }
    place = all.pictures.findIndex((each) => each.image === answer.undone);
    say(`Took back what was saved about ${answer.undone}.`);
    await show(true);
  } catch (error) { say(error.message, 12); }
}

function move(by) {
  if (!all.pictures.length) return;
  place = (place + by + all.pictures.length) % all.pictures.length;
  show(true);
}

function add(kind, input) {
  const name = at(input).value.trim();
  if (!name) return;
  added[kind].push(name);
  at(input).value = "";
  const part = kind === "attributes" ? "attributes" : "texts";
  if (!fields(part)[name]) at(part).append(field(name, ""));
  at(part).lastElementChild.querySelector("input").focus();
}

// A number chooses in the question that is focused, or in the first one without an answer.
function chooseByNumber(digit) {
  const sets = [...at("questions").querySelectorAll("fieldset")];
  const set = sets.find((each) => each.contains(document.activeElement)) ?? sets.find((each) => !each.querySelector("input:checked")) ?? sets[0];
  const choice = set?.querySelectorAll("input")[digit - 1];
  if (!choice) return;
  choice.checked = true;
  const open = sets.find((each) => !each.querySelector("input:checked"));
  (open?.querySelector("input") ?? choice).focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=text], textarea");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(); }
  else if (event.altKey && event.ctrlKey && event.key.toLowerCase() === "z") { event.preventDefault(); undo(); }
  else if (event.altKey && event.key === "ArrowLeft") { event.preventDefault(); move(-1); }
  else if (event.altKey && event.key === "ArrowRight") { event.preventDefault(); move(1); }
  else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && /^[1-9]$/.test(event.key)) chooseByNumber(Number(event.key));
});
at("form").addEventListener("submit", (event) => { event.preventDefault(); save(); });
at("undo").addEventListener("click", undo);
at("back").addEventListener("click", () => move(-1));
at("on").addEventListener("click", () => move(1));
at("add-attribute").addEventListener("click", () => add("attributes", "new-attribute"));
at("add-text").addEventListener("click", () => add("kinds", "new-text"));
for (const [input, button] of [["new-attribute", "add-attribute"], ["new-text", "add-text"]]) {
  at(input).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey) { event.preventDefault(); at(button).click(); }
  });
}

try {
  all = await (await ask("labels/all")).json();
  place = Math.max(0, all.pictures.findIndex((each) => !each.is_complete));
  await show(true);
} catch (error) { say(error.message, 0); }
