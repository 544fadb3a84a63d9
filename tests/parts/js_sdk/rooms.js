// Rooms: membership, state, power levels.
import { EventType, Preset, Visibility } from "matrix-js-sdk";

const ENCRYPTION = { type: EventType.RoomEncryption, state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

const isJoined = (room) => room?.getMyMembership() === "join";

const describeMember = (member) => ({
  user_id: member.userId,
  name: member.name,
  membership: member.membership,
  power_level: member.powerLevel,
  avatar_url: member.getMxcAvatarUrl() ?? null,
  changed_by: member.events.member?.getSender() ?? null,
  reason: member.events.member?.getContent().reason ?? null,
});

export const rooms = {
  /**
   * Creates a room, and waits until the sync shows it. `direct_with` opens a direct chat as Element does, and `encrypted`
   * has it encrypted from the beginning.
   */
  async create_room(current, { direct_with, encrypted = false, options = {}, timeout_ms }) {
    const direct = direct_with && {
      is_direct: true,
      invite: [direct_with],
      preset: Preset.TrustedPrivateChat,
      visibility: Visibility.Private,
    };
    const initial = encrypted && { initial_state: [ENCRYPTION] };
    const { room_id } = await current.client.createRoom({ ...direct, ...initial, ...options });
    await current.until(() => isJoined(current.client.getRoom(room_id)), timeout_ms, `room ${room_id}`);
    // Synced later than the membership, the SDK would send in clear until then.
    const isEncrypted = () => !encrypted || current.room(room_id).hasEncryptionStateEvent();
    await current.until(isEncrypted, timeout_ms, `encryption of ${room_id}`);
    if (direct_with) {
      const rooms = structuredClone(current.client.getAccountData(EventType.Direct)?.getContent() ?? {});
      (rooms[direct_with] ??= []).push(room_id);
      await current.client.setAccountData(EventType.Direct, rooms);
    }
    return { room_id };
  },

  /** Joins a room by id or alias, and waits until the sync shows it. */
  async join(current, { room, timeout_ms }) {
    const { roomId } = await current.client.joinRoom(room);
    await current.until(() => isJoined(current.client.getRoom(roomId)), timeout_ms, `join of ${roomId}`);
    return { room_id: roomId };
  },

  async leave(current, { room_id }) {
    await current.client.leave(room_id);
  },

  async invite(current, { room_id, user_id, reason }) {
    await current.client.invite(room_id, user_id, { reason });
  },

  async kick(current, { room_id, user_id, reason }) {
    await current.client.kick(room_id, user_id, reason);
  },

  async ban(current, { room_id, user_id, reason }) {
    await current.client.ban(room_id, user_id, reason);
  },

  /** Returns all rooms of which this user is a member, invited or was one: `{room_id, name, membership, space}`. */
  async rooms(current) {
    return current.client.getRooms().map((room) => ({
      room_id: room.roomId,
      name: room.name,
      membership: room.getMyMembership(),
      space: room.isSpaceRoom(),
    }));
  },

  async invites(current) {
    const invited = current.client.getRooms().filter((room) => room.getMyMembership() === "invite");
    return invited.map((room) => {
      const own = room.getMember(current.client.getUserId()).events.member;
      const { is_direct = false, reason = null } = own.getContent();
      return { room_id: room.roomId, name: room.name, inviter: own.getSender(), is_direct, reason };
    });
  },

  async members(current, { room_id }) {
    return current.room(room_id).getMembers().map(describeMember);
  },

  /** Returns the content of a state event, or null. */
  async state(current, { room_id, type, state_key = "" }) {
    return current.room(room_id).currentState.getStateEvents(type, state_key)?.getContent() ?? null;
  },

  async send_state(current, { room_id, type, content, state_key = "" }) {
    return current.client.sendStateEvent(room_id, type, content, state_key);
  },

  /** Returns the power level of a user; sets it first where `level` is given. */
  async power_level(current, { room_id, user_id, level, timeout_ms }) {
    const now = () => current.room(room_id).getMember(user_id)?.powerLevel ?? null;
    if (level === undefined) return now();
    await current.client.setPowerLevel(room_id, user_id, level);
    await current.until(() => now() === level, timeout_ms, `power level ${level} of ${user_id}`);
    return level;
  },
};
