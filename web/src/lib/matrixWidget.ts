import type { OpenIdToken } from "../api/types";

/** The parameters of this page when a Matrix client shows it as a widget. */
export interface WidgetParameters {
  widgetId: string;
  clientOrigin: string;
}

/** Read `widgetId` and `parentUrl`, which a client adds to the URL of the widget; null outside of a client. */
export function widgetParameters(href: string): WidgetParameters | null {
  const { searchParams } = new URL(href);
  const [widgetId, parentUrl] = [searchParams.get("widgetId"), searchParams.get("parentUrl")];
  if (!widgetId || !parentUrl || !URL.canParse(parentUrl)) return null;
  return { widgetId, clientOrigin: new URL(parentUrl).origin };
}

/** Request an OpenID token from the client, which asks its user. The token proves who the user is, and gives no access. */
export async function requestOpenIdToken({ widgetId, clientOrigin }: WidgetParameters): Promise<OpenIdToken> {
  const { WidgetApi } = await import("matrix-widget-api");
  const api = new WidgetApi(widgetId, clientOrigin);
  api.start();
  const { access_token, matrix_server_name } = await api.requestOpenIDConnectToken().finally(() => api.transport.stop());
  if (!access_token || !matrix_server_name) throw new Error("the client gave no OpenID token");
  return { access_token, matrix_server_name };
}

/** The message that adds `address` to a room as a widget. */
export function addWidgetCommand(address: string): string {
  return `/addwidget ${address}`;
}
