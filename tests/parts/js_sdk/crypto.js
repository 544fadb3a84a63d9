// End-to-end encryption by the SDK's Rust engine, the one of Element Web.
import { EventShieldColour, EventShieldReason } from "matrix-js-sdk/lib/crypto-api/index.js";

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
};
