// The page of pictures. Originals are uploaded to the studio's own process alone.
import { ask, bytes, element, number, say, tell } from "./shared.js";

const at = (name) => document.getElementById(name);
const studio = at("studio");
const level = at("level");
const stage = at("stage");
const MOST = Number(studio.dataset.mostFiles);
const MOST_BYTES = Number(studio.dataset.mostMegabytes) * 1e6;
const PICTURE = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif|pdf)$/i;

let uploads = [];
let chosen = null; // { upload, page }
let offer = null;
let running = null; // request for a protected picture that is under way
let wanted = false; // whether the level moved meanwhile
const addresses = { original: null, protected: null };

// -- the protector and its level --------------------------------------------------------------------------------

function query(more = "") {
  const form = new URLSearchParams({ protector: offer.name, level: level.value, size: at("size").value });
  return `${form}${more}`;
}

function form() {
  return { protector: offer.name, level: Number(level.value), size: at("size").value };
}

function choose() {
  const option = at("protector").selectedOptions[0];
  offer = JSON.parse(option.dataset.facts);
  at("made-for").textContent = option.dataset.madeFor;
  level.min = offer.floor;
  level.value = offer.default;
  at("floor").hidden = offer.floor === 0;
  at("floor").textContent = `The owner of this studio allows no level below ${offer.floor}.`;
  at("presets").replaceChildren(
    ...Object.entries(offer.presets)
      .filter(([, value]) => value >= offer.floor)
      .sort(([, a], [, b]) => a - b)
      .map(([name, value]) => element("button", {
        type: "button", text: name, "data-level": value, "aria-pressed": "false",
        onclick: () => { level.value = value; moved(); settled(); },
      })),
  );
  for (const each of document.querySelectorAll("[data-front]")) each.hidden = each.dataset.front !== offer.name;
  at("found").replaceChildren();
  moved();
  settled();
}

function moved() {
  const now = Number(level.value);
  at("level-shown").textContent = now.toFixed(2);
  for (const each of at("presets").children) {
    each.setAttribute("aria-pressed", String(Math.abs(Number(each.dataset.level) - now) < 0.005));
  }
  locate(now);
  if (!offer.slow) refresh();
}

function settled() {
  if (offer.slow) refresh();
  later();
}

// Where a level lies between the points that were measured.
function locate(now) {
  const shown = document.querySelector(`[data-front="${CSS.escape(offer.name)}"]`);
  const points = offer.front;
  const circle = shown?.querySelector(".here");
  if (!circle || !points.length) return;
  const after = points.findIndex((each) => each.level >= now);
  const high = points[after < 0 ? points.length - 1 : after];
  const low = after > 0 ? points[after - 1] : high;
  const share = high.level > low.level ? Math.min(1, Math.max(0, (now - low.level) / (high.level - low.level))) : 0;
  const mix = (name) => low[name] + share * (high[name] - low[name]);
  circle.setAttribute("cx", mix("x"));
  circle.setAttribute("cy", mix("y"));
  const measured = [low, high].some((each) => Math.abs(each.level - now) < 0.005);
  shown.querySelector("[data-here]").textContent =
    `At level ${now.toFixed(2)}: leak ${mix("leak").toFixed(2)}, utility ${mix("utility").toFixed(2)}` +
    (measured ? " (measured)." : `, interpolated between the measured levels ${low.level} and ${high.level}.`);
}

// -- showing ----------------------------------------------------------------------------------------------------

function path(what) {
  return `pictures/${chosen.upload.id}/${chosen.page}/${what}`;
}

function show(name, blob) {
  if (addresses[name]) URL.revokeObjectURL(addresses[name]);
  addresses[name] = URL.createObjectURL(blob);
  at(name).src = addresses[name];
  return at(name).decode().catch(() => {});
}

// One request at a time, and then the one for the latest level: what is shown never goes back.
async function refresh() {
  if (!chosen) return;
  if (running) { wanted = true; return; }
  running = chosen;
  stage.classList.add("waiting");
  try {
    do {
      wanted = false;
      running = chosen;
      const answer = await ask(`${path("protected")}?${query()}`);
      const facts = JSON.parse(answer.headers.get("X-Studio-Facts"));
      const blob = await answer.blob();
      if (running !== chosen) { wanted = true; continue; }
      await show("protected", blob);
      tellFacts(facts);
    } while (wanted);
  } catch (error) {
    say(error.message);
    at("protected").removeAttribute("src");
  }
  running = null;
  stage.classList.remove("waiting");
}

function tellFacts(facts) {
  const hidden = Object.entries(facts.hidden);
  const rows = [
    ["Picture", `${chosen.upload.pages[chosen.page].size.join(" × ")} pixels, ${bytes(chosen.upload.bytes)}`],
    ["Level", facts.level.toFixed(2)],
    ["Protected in", `${number(facts.milliseconds)} ms`],
  ];
  if (offer.slow) {
    const kinds = hidden.map(([kind, count]) => `${count} ${kind.toLowerCase()}`).join(", ");
    rows.push(["Covered", kinds || "no private words"]);
  }
  at("facts").replaceChildren(...rows.map(([term, value]) =>
    element("div", {}, element("dt", { text: term }), element("dd", { text: value }))));
}

// What needs the whole picture is asked for once the level rests.
let resting;
function later() {
  clearTimeout(resting);
  if (!chosen) return;
  at("download").href = `${path("download")}?${query()}`;
  at("receipt").href = `pictures/${chosen.upload.id}/receipt?${query()}`;
  resting = setTimeout(() => { tellCosts(); drawStrip(); }, 250);
}

// A protector that knows what it was made for says so of a picture that is something else.
function tellFamiliar(unfamiliar) {
  at("unfamiliar").hidden = !unfamiliar;
  at("unfamiliar").textContent = unfamiliar === "covered"
    ? "This protector was not made for such pictures, so it covers the whole picture."
    : "This protector was not made for such pictures. It may show what should be hidden.";
}

async function tellCosts() {
  const asked = chosen;
  try {
    const costs = await (await ask(`${path("costs")}?${query()}`)).json();
    if (asked !== chosen) return;
    const saved = 1 - costs.bytes[1] / costs.bytes[0];
    const first = costs.families[0];
    const fact = (title, value, note) =>
      element("div", {}, element("span", { class: "small", text: title }), element("strong", { text: value }),
        element("span", { class: "small", text: note }));
    const rows = costs.families.map((each) => element("tr", {},
      element("th", { scope: "row", text: each.model }),
      ...each.tokens.map((count, index) => element("td", {
        text: number(count), class: index && count < each.tokens[0] ? "less" : null })),
      ...each.dollars.map((price, index) => element("td", {
        text: `$${number(price, 2)}`, class: index && price < each.dollars[0] ? "less" : null }))));
    const heads = ["Model", "Tokens, original", "sent", "$ per 1,000, original", "sent"];
    tellFamiliar(costs.receipt.images[0].unfamiliar);
    at("costs").replaceChildren(
      element("div", { class: "big" },
        fact("Upload", bytes(costs.bytes[1]), `${bytes(costs.bytes[0])} before${saved > 0 ? `, ${number(100 * saved)} % less` : ""}`),
        fact("Size", costs.sent_size.join(" × "), `${costs.size.join(" × ")} before`),
        fact(`Tokens, ${first.model}`, number(first.tokens[1]), `${number(first.tokens[0])} before`)),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tokens and prices by model" },
        element("table", {},
          element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })))),
          element("tbody", {}, ...rows))),
      element("p", { class: "small", text: `Rules and list prices as of ${costs.as_of}; the picture alone, without question and answer.` }),
      element("p", { class: "small digest", text: `sha256 of what is sent: ${costs.receipt.images[0].sha256}` }));
  } catch (error) {
    at("costs").replaceChildren(element("p", { class: "small", text: error.message }));
  }
}

// -- several pictures -------------------------------------------------------------------------------------------

function pages() {
  return uploads.flatMap((upload) => upload.pages.map((_, page) => ({ upload, page })));
}

function titleOf({ upload, page }) {
  return upload.is_document ? `${upload.name}, page ${page + 1}` : upload.name;
}

function drawStrip() {
  const all = pages();
  const strip = at("strip");
  strip.hidden = all.length < 2;
  if (strip.hidden) { strip.replaceChildren(); return; }
  const focused = [...strip.children].indexOf(document.activeElement);
  strip.classList.toggle("sheet", all.length > 6);
  strip.replaceChildren(...all.map((each) => element("button", {
    type: "button", "aria-label": titleOf(each), title: titleOf(each),
    "aria-pressed": String(each.upload === chosen.upload && each.page === chosen.page),
    onclick: () => select(each.upload, each.page),
  }, element("img", {
    alt: "", loading: "lazy", src: `pictures/${each.upload.id}/${each.page}/protected?${query("&small")}`,
  }))));
  strip.children[focused]?.focus();
}

async function select(upload, page = 0) {
  chosen = { upload, page };
  studio.classList.remove("empty");
  at("drop").hidden = true;
  at("look").hidden = false;
  at("look-title").textContent = upload.name;
  at("pages").hidden = upload.pages.length < 2;
  at("page-number").textContent = `Page ${page + 1} of ${upload.pages.length}`;
  at("send").disabled = at("check").disabled = false;
  at("found").replaceChildren();
  at("answers").replaceChildren();
  for (const each of at("strip").children) {
    each.setAttribute("aria-pressed", String(each.title === titleOf(chosen)));
  }
  at("unfamiliar").hidden = true;
  const asked = chosen;
  refresh();
  later();
  try {
    const blob = await (await ask(path("original"))).blob();
    if (asked === chosen) await show("original", blob);
  } catch (error) { say(error.message); }
}

function turn(by) {
  const count = chosen.upload.pages.length;
  select(chosen.upload, (chosen.page + by + count) % count);
}

function empty() {
  chosen = null;
  studio.classList.add("empty");
  at("look").hidden = true;
  at("drop").hidden = false;
  at("send").disabled = at("check").disabled = true;
  for (const name of ["facts", "found", "answers", "costs"]) at(name).replaceChildren();
}

// -- taking pictures in -----------------------------------------------------------------------------------------

async function take(files) {
  const all = [...files].filter((file) => file.type.startsWith("image/") || PICTURE.test(file.name));
  if (!all.length) { say("There is no picture and no PDF among these files."); return; }
  const some = all.slice(0, MOST);
  const refused = [];
  let first = null;
  for (const [index, file] of some.entries()) {
    if (some.length > 1) say(`Taking in ${index + 1} of ${some.length}.`, 0);
    try {
      if (file.size > MOST_BYTES) throw new Error(`The file is larger than ${bytes(MOST_BYTES)}. Make it smaller, then drop it again.`);
      const name = encodeURIComponent((file.webkitRelativePath || file.name || "picture").slice(-120));
      const upload = await (await ask(`pictures?name=${name}`, { method: "POST", body: file })).json();
      uploads.push(upload);
      first ??= upload;
    } catch (error) { refused.push([file.name, error.message]); }
  }
  uploads = await (await ask("pictures")).json();
  const kept = uploads.find((each) => each.id === first?.id);
  if (kept) await select(kept);
  else if (first && uploads.length) await select(uploads[0]);
  const notes = [];
  if (refused.length) notes.push(refused.length === 1 ? `${refused[0][0]}: ${refused[0][1]}` : `${refused.length} files were refused. The first, ${refused[0][0]}: ${refused[0][1]}`);
  if (all.length > MOST) notes.push(`The first ${MOST} of ${all.length} files are kept.`);
  say(notes.join(" ") || `${some.length === 1 ? titleOf({ upload: first, page: 0 }) : `${some.length} files`} taken in.`, refused.length ? 15 : 5);
}

async function sample() {
  try {
    const upload = await (await ask("pictures/sample", { method: "POST" })).json();
    uploads = await (await ask("pictures")).json();
    await select(uploads.find((each) => each.id === upload.id) ?? upload);
    say("A drawn scene of an invented person. Ask, for example: What colour is the sign?");
  } catch (error) { say(error.message); }
}

// Folders that were dropped, and the files in them.
async function dropped(transfer) {
  const entries = [...transfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((each) => each.isDirectory)) return transfer.files;
  const files = [];
  const visit = async (entry) => {
    if (files.length >= 10 * MOST) return;
    if (entry.isFile) files.push(await new Promise((done, fail) => entry.file(done, fail)));
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, fail) => reader.readEntries(done, fail));
        if (!some.length) break;
        for (const each of some) await visit(each);
      }
    }
  };
  for (const each of entries) await visit(each);
  return files;
}

let stream = null;
async function camera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    say("The camera can't be used. Allow it in the browser, or choose a file.");
    return;
  }
  at("video").srcObject = stream;
  at("camera").showModal();
  await at("video").play();
}

function shoot() {
  const video = at("video");
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => take([new File([blob], "photo.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.95);
  at("camera").close();
}

// -- asking and checking ----------------------------------------------------------------------------------------

async function send(event) {
  event.preventDefault();
  if (!chosen) return;
  const button = at("send");
  const question = at("question").value || at("question").placeholder;
  at("question").value = question;
  button.disabled = true;
  at("answers").replaceChildren(element("p", { class: "small whole", text: "The chat model is asked." }));
  try {
    const model = at("model").value;
    const reply = await tell(`pictures/${chosen.upload.id}/send`, { ...form(), question, model });
    const part = (title, text) => element("div", {}, element("h3", { text: title }), element("p", { text }));
    const parts = [part(`${model} answered`, reply.answer || "(an empty answer)")];
    parts.push(part("Restored on this machine", reply.restored === reply.answer ? "Nothing was hidden in it: the answer is as it came." : reply.restored));
    if (reply.asked !== question) parts.push(part("The question, as it was sent", reply.asked));
    const digests = reply.receipt.images.map((each) => each.sha256.slice(0, 16)).join(", ");
    parts.push(element("p", { class: "small whole", text: `Sent: ${reply.receipt.images.length} protected picture${reply.receipt.images.length > 1 ? "s" : ""}, sha256 ${digests}…` }));
    at("answers").replaceChildren(...parts);
  } catch (error) {
    at("answers").replaceChildren(element("p", { class: "small whole", text: error.message }));
  }
  button.disabled = false;
}

async function listModels() {
  const select = at("model");
  if (select.dataset.known) return;
  select.dataset.known = "yes";
  try {
    const { models } = await tell("models", {});
    for (const name of models.filter((each) => each !== "sandbox")) {
      select.append(element("option", { value: name, text: `${name} (on this machine)` }));
    }
  } catch { delete select.dataset.known; }
}

async function check() {
  const asked = chosen;
  at("check").disabled = true;
  at("found").replaceChildren(element("p", { class: "small", text: "Reading. This takes some seconds." }));
  try {
    const found = await tell(path("check"), form());
    if (asked !== chosen) return;
    const rows = [];
    if (found.faces) rows.push(["faces", ...found.faces]);
    rows.push(...Object.entries(found.words ?? {}).sort(([a], [b]) => a.localeCompare(b)).map(([kind, counts]) => [kind, ...counts]));
    const missing = [found.faces ? "" : "Faces were not looked for (extra faces).", found.words ? "" : "Words were not looked for (extra words)."];
    const heads = ["Found", "Original", "Still found"];
    at("found").replaceChildren(
      rows.length ? element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Found before and after" },
        element("table", {},
          element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })))),
          element("tbody", {}, ...rows.map(([kind, before, after]) => element("tr", {},
            element("th", { scope: "row", text: kind }), element("td", { text: before }),
            element("td", { text: after, class: after < before ? "less" : null })))))) : element("p", { class: "small", text: "Nothing was found in the original." }),
      element("p", { class: "small", text: [`At level ${Number(level.value).toFixed(2)}, by machines on this computer; better ones may find more.`, ...missing].filter(Boolean).join(" ") }));
  } catch (error) {
    at("found").replaceChildren(element("p", { class: "small", text: error.message }));
  }
  at("check").disabled = false;
}

// -- what people do ---------------------------------------------------------------------------------------------

at("protector").addEventListener("change", choose);
at("size").addEventListener("change", settled);
level.addEventListener("input", moved);
level.addEventListener("change", settled);
at("split").addEventListener("input", () => stage.style.setProperty("--split", `${at("split").value}%`));
for (const [name, pair] of [["as-slider", false], ["as-pair", true]]) {
  at(name).addEventListener("click", () => {
    stage.classList.toggle("pair", pair);
    at("as-pair").setAttribute("aria-pressed", String(pair));
    at("as-slider").setAttribute("aria-pressed", String(!pair));
  });
}
at("page-back").addEventListener("click", () => turn(-1));
at("page-on").addEventListener("click", () => turn(1));
at("ask").addEventListener("submit", send);
at("check").addEventListener("click", check);
at("model").addEventListener("focus", listModels);
at("forget").addEventListener("click", async () => {
  const gone = chosen.upload;
  try { await tell(`pictures/${gone.id}/forget`, {}); } catch (error) { say(error.message); return; }
  uploads = uploads.filter((each) => each.id !== gone.id);
  if (uploads.length) await select(uploads.at(-1));
  else { empty(); at("drop").querySelector("button").focus(); }
  say("Forgotten.");
});
for (const button of document.querySelectorAll("[data-choose]")) {
  button.addEventListener("click", () => {
    const what = button.dataset.choose;
    if (what === "camera") camera();
    else if (what === "sample") sample();
    else at(what).click();
  });
}
for (const name of ["files", "folder"]) {
  at(name).addEventListener("change", () => { take(at(name).files); at(name).value = ""; });
}
at("shoot").addEventListener("click", shoot);
at("camera-close").addEventListener("click", () => at("camera").close());
at("camera").addEventListener("close", () => stream?.getTracks().forEach((track) => track.stop()));
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) { event.preventDefault(); take(event.clipboardData.files); }
});
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(await dropped(event.dataTransfer));
});

empty();
choose();
try {
  uploads = await (await ask("pictures")).json();
  if (uploads.length) await select(uploads.at(-1));
} catch (error) { say(error.message, 0); }
