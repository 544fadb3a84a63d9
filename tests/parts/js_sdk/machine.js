// The Rust engine of Element Web (matrix-sdk-crypto-wasm) without a client, controlled by JSON lines as main.js is.
import "./stderr.js";
import { createInterface } from "node:readline";
import * as engine from "@matrix-org/matrix-sdk-crypto-wasm";

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const asUsers = (users) => users.map((user) => new engine.UserId(user));
const asRequest = ({ id, type, body, event_type = null }) => ({ id, type, body: JSON.parse(body), event_type });
const asBase64 = (bytes) => Buffer.from(bytes).toString("base64");

await engine.initAsync();
let machine;
let room;

const METHODS = {
  async start({ user_id, device_id, room_id }) {
    machine = await engine.OlmMachine.initialize(new engine.UserId(user_id), new engine.DeviceId(device_id));
    room = new engine.RoomId(room_id);
    const settings = new engine.RoomSettings();
    settings.algorithm = engine.EncryptionAlgorithm.MegolmV1AesSha2;
    await machine.setRoomSettings(room, settings);
  },

  /** Makes cross-signing keys, and returns the bodies of both uploads. */
  async cross_sign() {
    const requests = await machine.bootstrapCrossSigning(true);
    const { uploadSigningKeysRequest: keys, uploadSignaturesRequest: signatures } = requests;
    return { keys: JSON.parse(keys.body), signatures: JSON.parse(signatures.body) };
  },

  async outgoing() {
    return (await machine.outgoingRequests()).map(asRequest);
  },

  async mark_sent({ id, type, response }) {
    await machine.markRequestAsSent(id, type, JSON.stringify(response));
  },

  async track({ users }) {
    await machine.updateTrackedUsers(asUsers(users));
  },

  async claim({ users }) {
    const request = await machine.getMissingSessions(asUsers(users));
    return request ? [asRequest(request)] : [];
  },

  /** Shares the session of the room, by the strategy that leaves out devices which their owner did not sign. */
  async share({ users }) {
    const settings = new engine.EncryptionSettings();
    settings.historyVisibility = engine.HistoryVisibility.Shared;
    settings.sharingStrategy = engine.CollectStrategy.identityBasedStrategy();
    return (await machine.shareRoomKey(room, asUsers(users), settings)).map(asRequest);
  },

  async discard_session() {
    await machine.invalidateGroupSession(room);
  },

  async encrypt({ content }) {
    return JSON.parse(await machine.encryptRoomEvent(room, "m.room.message", JSON.stringify(content)));
  },

  async receive({ events }) {
    await machine.receiveSyncChanges(JSON.stringify(events), new engine.DeviceLists(), new Map(), new Set());
  },

  async decrypt({ event }) {
    const settings = new engine.DecryptionSettings(engine.TrustRequirement.Untrusted);
    const decrypted = await machine.decryptRoomEvent(JSON.stringify(event), room, settings);
    // The state by default; the strict one is red for every user who is not verified.
    const shield = engine.ShieldColor[decrypted.shieldState(false).color];
    return { content: JSON.parse(decrypted.event).content, shield };
  },

  async share_history({ user_id, url }) {
    const bundle = await machine.buildRoomKeyBundle(room);
    const file = asBase64(bundle.encryptedData);
    const strategy = engine.CollectStrategy.allDevices();
    const user = new engine.UserId(user_id);
    const requests = await machine.shareRoomKeyBundleData(user, room, url, bundle.mediaEncryptionInfo, strategy);
    return { file, requests: requests.map(asRequest) };
  },

  async encrypt_file({ text }) {
    const encrypted = engine.Attachment.encrypt(new TextEncoder().encode(text));
    const info = JSON.parse(encrypted.mediaEncryptionInfo);
    return { file: asBase64(encrypted.encryptedData), info };
  },

  async decrypt_file({ file, info }) {
    const encrypted = new engine.EncryptedAttachment(Buffer.from(file, "base64"), JSON.stringify(info));
    return Buffer.from(engine.Attachment.decrypt(encrypted)).toString();
  },
};

async function answer(line) {
  const { id, method, params } = JSON.parse(line);
  try {
    write({ id, result: (await METHODS[method](params)) ?? null });
  } catch (error) {
    write({ id, error: { message: error.description ?? error.message ?? String(error) } });
  }
}

createInterface({ input: process.stdin })
  .on("line", answer)
  .on("close", () => process.exit(0));
