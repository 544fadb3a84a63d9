// Users: profiles, and this user's own account data.

export const users = {
  /** Returns all fields of a profile, as the homeserver has them. */
  async profile(current, { user_id }) {
    return current.client.getProfileInfo(user_id);
  },

  /** Returns the content of an account data event of this user, or null; sets it first where `content` is given. */
  async account_data(current, { type, content }) {
    if (content !== undefined) await current.client.setAccountData(type, content);
    return current.client.getAccountData(type)?.getContent() ?? null;
  },
};
