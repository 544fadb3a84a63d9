// End-to-end encryption by the SDK's Rust engine, the one of Element Web.
import { Attachment, EncryptedAttachment } from "@matrix-org/matrix-sdk-crypto-wasm";
import {
  AllDevicesIsolationMode,
  EventShieldColour,
  EventShieldReason,
  OnlySignedDevicesIsolationMode,
  VerificationPhase,
} from "matrix-js-sdk/lib/crypto-api/index.js";

const nameOf = (values, value) => Object.keys(values).find((name) => values[name] === value) ?? null;

export const crypto = {
  /**
   * Starts the engine, with its keys in memory; before `start`. With `password` the user gets cross-signing keys, and this
   * device is signed.
   */
  async init_crypto(current, { password }) {
    const { client } = current;
    await client.initRustCrypto({ useIndexedDB: false });
    if (password === undefined) return;
    const identifier = { type: "m.id.user", user: client.getUserId() };
    await client.getCrypto().bootstrapCrossSigning({
      authUploadDeviceSigningKeys: (request) => request({ type: "m.login.password", identifier, password }),
    });
  },

  async is_encrypted(current, { room_id }) {
    return current.client.getCrypto().isEncryptionEnabledInRoom(room_id);
  },

  /** Returns the shield beside an event, `{colour, reason}`, by their names in the SDK; null for an event in clear. */
  async shield(current, { room_id, event_id }) {
    const info = await current.client.getCrypto().getEncryptionInfoForEvent(current.event(room_id, event_id));
    if (!info) return null;
    return {
      colour: nameOf(EventShieldColour, info.shieldColour),
      reason: info.shieldReason === null ? null : nameOf(EventShieldReason, info.shieldReason),
    };
  },

  /** Excludes devices that their owners did not sign, as "Exclude insecure devices" of Element Web does, or includes them. */
  async isolate(current, { only_signed }) {
    const mode = only_signed ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false);
    current.client.getCrypto().setDeviceIsolationMode(mode);
  },

  /** Encrypts the next event of the room with a new session. */
  async discard_session(current, { room_id }) {
    await current.client.getCrypto().forceDiscardSession(room_id);
  },

  /** Returns what the engine knows of a user: whether the identity changed, and the devices with who signed them. */
  async identity(current, { user_id }) {
    const engine = current.client.getCrypto();
    const { known, needsUserApproval } = await engine.getUserVerificationStatus(user_id);
    const devices = [...((await engine.getUserDeviceInfo([user_id], true)).get(user_id)?.keys() ?? [])];
    const statuses = devices.map((device) => engine.getDeviceVerificationStatus(user_id, device));
    const signed = (await Promise.all(statuses)).map((status) => status?.signedByOwner ?? false);
    return {
      known,
      needs_approval: needsUserApproval,
      devices: Object.fromEntries(devices.map((device, index) => [device, signed[index]])),
    };
  },

  /** Asks a user of a direct chat to verify, and waits until that ends; returns `{phase, code}`. */
  async request_verification(current, { room_id, user_id, timeout_ms }) {
    const request = await current.client.getCrypto().requestVerificationDM(user_id, room_id);
    const isOver = () => [VerificationPhase.Cancelled, VerificationPhase.Done].includes(request.phase);
    await current.until(isOver, timeout_ms, `end of the verification by ${user_id}`);
    return { phase: nameOf(VerificationPhase, request.phase), code: request.cancellationCode ?? null };
  },

  /** Uploads a file encrypted; returns the field `file` of a message. `content` is base64. */
  async upload_file(current, { content }) {
    const encrypted = Attachment.encrypt(Buffer.from(content, "base64"));
    const body = new Blob([encrypted.encryptedData]);
    const { content_uri: url } = await current.client.uploadContent(body, { type: "application/octet-stream" });
    return { ...JSON.parse(encrypted.mediaEncryptionInfo), url };
  },

  /** Downloads and decrypts a file; returns base64. */
  async download_file(current, { file }) {
    const { client } = current;
    const url = client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
    const response = await fetch(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    if (!response.ok) throw new Error(`download of ${file.url}: ${response.status}`);
    const encrypted = new EncryptedAttachment(new Uint8Array(await response.arrayBuffer()), JSON.stringify(file));
    return Buffer.from(Attachment.decrypt(encrypted)).toString("base64");
  },
};
