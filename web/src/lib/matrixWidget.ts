import type { OpenIdToken } from "../api/types";

/** Which widget this page is, when a Matrix client shows it as one. */
export interface WidgetParameters {
  widgetId: string;
  clientOrigin: string;
}

/** A client adds `widgetId` and `parentUrl` to the address of the widget. */
export function widgetParameters(href: string): WidgetParameters | null {
  const { searchParams } = new URL(href);
  const [widgetId, parentUrl] = [searchParams.get("widgetId"), searchParams.get("parentUrl")];
  if (!widgetId || !parentUrl || !URL.canParse(parentUrl)) return null;
  return { widgetId, clientOrigin: new URL(parentUrl).origin };
}

/** Ask the client, which asks its user, for a token that says who they are and opens nothing else. */
export async function requestOpenIdToken({ widgetId, clientOrigin }: WidgetParameters): Promise<OpenIdToken> {
  const { WidgetApi } = await import("matrix-widget-api");
  const api = new WidgetApi(widgetId, clientOrigin);
  api.start();
  const { access_token, matrix_server_name } = await api.requestOpenIDConnectToken().finally(() => api.transport.stop());
  if (!access_token || !matrix_server_name) throw new Error("the client gave no OpenID token");
  return { access_token, matrix_server_name };
}

/** What to say in a room to have `address` there as a widget. */
export function addWidgetCommand(address: string): string {
  return `/addwidget ${address}`;
}
