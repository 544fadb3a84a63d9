import { useQuery } from "@tanstack/react-query";
import { queries } from "../api/queries";
import type { SiteSettings } from "../api/types";

/** The settings until the city has sent its own: the default intervals, and no way to sign in. */
const DEFAULT_SETTINGS: SiteSettings = {
  city_name: "DAARION",
  sign_in: { url: null, name: false, matrix: false },
  matrix: { server_name: "", homeserver_url: null, client_url: null },
  heartbeat_ms: 20_000,
  away_after_ms: 300_000,
  url_previews: false,
};

export function useSite(): SiteSettings {
  return useQuery(queries.site).data ?? DEFAULT_SETTINGS;
}
