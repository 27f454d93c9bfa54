// One call: `new Call(onState, onText)`, then `start()` and `hangUp()`. Knows nothing of the page.

const ANSWER_MS = 20_000;
const CONNECT_MS = 15_000;

export class Call {
  #peer = null;
  #microphone = null;
  #onState;
  #onText;

  /**
   * @param onState called with one of: microphone, calling, connected, ended, failed; and a text for people
   * @param onText called with an item's id, its role (user or assistant) and what was said so far
   */
  constructor(onState, onText) {
    this.#onState = onState;
    this.#onText = onText;
  }

  async start() {
    try {
      this.#onState("microphone", "Waiting for the microphone");
      this.#microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      this.#onState("calling", "Calling");
      await this.#connect();
    } catch (error) {
      this.#end("failed", explain(error));
    }
  }

  hangUp() {
    this.#end("ended", "Call ended");
  }

  async #connect() {
    const peer = new RTCPeerConnection();
    this.#peer = peer;
    peer.addTrack(this.#microphone.getAudioTracks()[0], this.#microphone);
    peer.ontrack = ({ track }) => {
      document.querySelector("audio").srcObject = new MediaStream([track]);
    };
    peer.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(peer.connectionState)) this.hangUp();
    };

    const events = peer.createDataChannel("oai-events");
    events.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    events.onclose = () => this.hangUp();
    const opened = new Promise((resolve) => (events.onopen = resolve));

    await peer.setLocalDescription();
    const answer = await placeCall(peer.localDescription.sdp);
    if (this.#peer !== peer) return; // hung up meanwhile
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await within(CONNECT_MS, opened, "The connection could not be opened.");
    this.#onState("connected", "Connected");
  }

  #said = new Map();

  #hear(event) {
    switch (event.type) {
      case "conversation.item.added": // keeps the order of who spoke when, whenever the words come
        if (event.item.type === "message") this.#onText(event.item.id, event.item.role, "");
        break;
      case "response.output_audio_transcript.delta": {
        const soFar = (this.#said.get(event.item_id) ?? "") + event.delta;
        this.#said.set(event.item_id, soFar);
        this.#onText(event.item_id, "assistant", soFar);
        break;
      }
      case "response.output_audio_transcript.done":
        this.#onText(event.item_id, "assistant", event.transcript);
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.#onText(event.item_id, "user", event.transcript);
        break;
    }
  }

  #end(state, text) {
    if (!this.#microphone && !this.#peer && state === "ended") return;
    this.#microphone?.getTracks().forEach((track) => track.stop());
    const peer = this.#peer;
    this.#peer = this.#microphone = null;
    peer?.close();
    this.#onState(state, text);
  }
}

/** Trade our offer for an answer: a token from our backend, then the edge. The answer must stay as it came. */
async function placeCall(offer) {
  const permission = await fetch("/token", { method: "POST" });
  if (!permission.ok) throw new Error("You may not call at the moment.");
  const { token, calls_url } = await permission.json();
  const response = await fetch(calls_url, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" },
    body: offer,
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (response.status !== 201) {
    const { error } = await response.json().catch(() => ({}));
    throw new Error(error?.message ?? `The call was refused (${response.status}).`);
  }
  return response.text();
}

function within(milliseconds, promise, message) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(message)), milliseconds));
  return Promise.race([promise, late]);
}

function explain(error) {
  if (error.name === "NotAllowedError") return "The microphone is not allowed.";
  if (error.name === "NotFoundError") return "There is no microphone.";
  if (error.name === "TimeoutError") return "No answer in time.";
  return error.message;
}
