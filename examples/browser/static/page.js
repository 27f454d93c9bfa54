// The page around a call: two buttons, its state, and what was said.

import { Call } from "./call.js";

const button = document.getElementById("call");
const hangUp = document.getElementById("hang-up");
const state = document.getElementById("state");
const transcript = document.getElementById("transcript");

let call = null;

button.onclick = () => {
  transcript.replaceChildren();
  call = new Call(showState, showText);
  call.start();
};

hangUp.onclick = () => call.hangUp();

function showState(name, text) {
  const over = name === "ended" || name === "failed";
  state.dataset.state = name;
  state.textContent = text;
  button.hidden = !over;
  hangUp.hidden = over;
}

function showText(itemId, role, text) {
  let line = document.getElementById(itemId);
  if (!line) {
    line = document.createElement("li");
    line.id = itemId;
    line.dataset.role = role;
    transcript.append(line);
  }
  if (text) line.textContent = text;
}
