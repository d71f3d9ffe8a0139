import Bowser from "bowser";

/** What a User-Agent header says, for a person to recognize; "" where it says nothing. */
export function describeUserAgent(userAgent: string): { readonly device: string; readonly browser: string } {
  if (userAgent === "") return { device: "", browser: "" };
  const { browser, os, platform } = Bowser.parse(userAgent);
  const version = browser.version?.split(".")[0];
  return {
    device: [platform.model ?? platform.vendor, os.name, os.versionName].filter((part) => part).join(" "),
    browser: [browser.name, version].filter((part) => part).join(" "),
  };
}
