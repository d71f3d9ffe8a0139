import { useEffect, useState } from "preact/hooks";
import type { Device } from "../../sdk/mod.ts";
import { fullTime } from "../format.ts";
import { errorText } from "../error_text.ts";
import { t, TEXTS } from "../i18n.ts";
import type { TextKey } from "../i18n.ts";
import { requireClient } from "../state/session.ts";
import { Icon } from "./icon.tsx";
import { Panel } from "./panel.tsx";

/** Every login of mine; all but this one can be ended here. */
export function DevicesPanel() {
  const [devices, setDevices] = useState<readonly Device[] | null>(null);
  const [asking, setAsking] = useState<string | null>(null);
  const [error, setError] = useState("");
  const fail = (cause: unknown) => setError(errorText(cause));
  useEffect(() => {
    const client = requireClient();
    const list = () => {
      client.request("session.devices", {}).then((answer) => setDevices(answer.devices), fail);
    };
    list();
    return client.on("devices", list);
  }, []);
  const end = async (clientId: string) => {
    setAsking(null);
    try {
      await requireClient().request("session.kick", { clientId });
      setDevices((held) => held?.filter((device) => device.clientId !== clientId) ?? null);
    } catch (cause) {
      fail(cause);
    }
  };
  return (
    <Panel title={t("devices.title")}>
      <p class="hint">{t("devices.how")}</p>
      {devices === null && error === "" && (
        <span class="spinner" role="status" aria-label={t("app.loading")} />
      )}
      <p class="error" role="alert">{error}</p>
      <ul class="devices">
        {devices?.toSorted((a, b) => Number(b.current) - Number(a.current) || b.lastActiveAt - a.lastActiveAt)
          .map((
            device,
          ) => (
            <li key={device.clientId} class="device">
              <Icon name={[1, 2].includes(device.platform) ? "phone" : "devices"} />
              <div class="device-text">
                <strong>{deviceName(device)}</strong>
                <span>
                  {platformName(device.platform)} · {device.online
                    ? t("devices.online")
                    : t("devices.last", { time: fullTime(device.lastActiveAt) })}
                </span>
              </div>
              {device.current
                ? <span class="tag">{t("devices.current")}</span>
                : asking === device.clientId
                ? (
                  <span class="device-ask" role="group" aria-label={t("devices.confirm")}>
                    <button
                      type="button"
                      class="button button-danger"
                      onClick={() => void end(device.clientId)}
                    >
                      {t("devices.confirm_yes")}
                    </button>
                    <button type="button" class="button button-quiet" onClick={() => setAsking(null)}>
                      {t("devices.confirm_no")}
                    </button>
                  </span>
                )
                : (
                  <button
                    type="button"
                    class="button button-quiet"
                    aria-label={t("devices.end_label", { name: deviceName(device) })}
                    onClick={() => setAsking(device.clientId)}
                  >
                    {t("devices.end")}
                  </button>
                )}
            </li>
          ))}
      </ul>
    </Panel>
  );
}

function deviceName({ name }: Device): string {
  return name || t("devices.unnamed");
}

function platformName(platform: number): string {
  const key = `platform.${platform}`;
  return t(key in TEXTS.en ? key as TextKey : "platform.0");
}
