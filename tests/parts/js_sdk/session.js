// One signed-in user: the SDK's client, and how it starts and stops.
import { setTimeout } from "node:timers/promises";
import { ClientEvent, RoomEvent, SyncState, createClient } from "matrix-js-sdk";
import { describe } from "./describe.js";

/** How often a condition is checked, in ms: the SDK has no event after which each of its models is up to date. */
const CHECK_MS = 20;

export class Session {
  /** @type {import("matrix-js-sdk").MatrixClient} */
  client;

  /** `push(name, fields)` tells the test what happens. */
  constructor(push) {
    this.push = push;
  }

  /** Returns the room. Throws if the client does not know it. */
  room(roomId) {
    const room = this.client.getRoom(roomId);
    if (!room) throw new Error(`room ${roomId} is unknown`);
    return room;
  }

  /** Returns an event of the room, in its timeline or in a thread. Throws if it is not loaded. */
  event(roomId, eventId) {
    const event = this.room(roomId).findEventById(eventId);
    if (!event) throw new Error(`event ${eventId} is not loaded in ${roomId}`);
    return event;
  }

  /**
   * Waits until `find()` returns something other than null, undefined and false, and returns that.
   * Throws after `timeoutMs` milliseconds.
   */
  async until(find, timeoutMs, what) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = find();
      if (found !== null && found !== undefined && found !== false) return found;
      if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
      await setTimeout(CHECK_MS);
    }
  }

  /** Builds the client. */
  open(credentials) {
    this.client = createClient({ ...credentials, disableVoip: true, timelineSupport: true });
    this.client.on(ClientEvent.Sync, (state, _previous, data) => {
      this.push("sync", { state, error: data?.error?.message ?? null });
    });
    this.client.on(RoomEvent.Timeline, (event, room, toStart, _removed, data) => {
      if (room && data?.liveEvent && !toStart) this.push("timeline", describe(event));
    });
    this.client.on(RoomEvent.MyMembership, (room, membership) => {
      this.push("membership", { room_id: room.roomId, membership });
    });
  }
}

export const session = {
  /** Signs in: `{base_url, user_id, password}` or `{base_url, user_id, access_token}`, each with `device_id` or without. */
  async login(current, { base_url, user_id, password, access_token, device_id }) {
    const credentials = { userId: user_id, deviceId: device_id, accessToken: access_token };
    if (!access_token) {
      const response = await createClient({ baseUrl: base_url }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: user_id },
        password,
        device_id,
      });
      Object.assign(credentials, { deviceId: response.device_id, accessToken: response.access_token });
    }
    current.open({ baseUrl: base_url, ...credentials });
    return { user_id, device_id: credentials.deviceId ?? null, access_token: credentials.accessToken };
  },

  /** Starts to sync as Element Web does, but with all members; returns after the first sync. */
  async start(current, { initial_sync_limit = 20, timeout_ms }) {
    await current.client.startClient({
      initialSyncLimit: initial_sync_limit,
      lazyLoadMembers: false,
      pendingEventOrdering: "detached",
      threadSupport: true,
      pollTimeout: 10_000,
    });
    await current.until(() => current.client.getSyncState() === SyncState.Syncing, timeout_ms, "first sync");
    return { rooms: current.client.getRooms().map((room) => room.roomId) };
  },

  async stop(current) {
    current.client.stopClient();
  },

  async logout(current) {
    await current.client.logout(true);
  },
};
