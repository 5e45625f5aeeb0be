// Types of the widget: of the module otp.mjs, and of the global that the script otp.js defines.

/** What a verification ended with. Your server presents the receipt: `POST /api/otp/<id>/status`. */
export interface OTPGatewayResult {
  namespace: string;
  id: string;
  /** Good for a minute and once; empty when the code was verified in another window. */
  receipt: string;
}

export interface OTPGatewayOptions {
  /** The name of the tenant. */
  namespace: string;
  /** The id of the verification, as the create answered it. */
  id: string;
  /**
   * The `url` of the create's answer, with its token. Without it the page is looked for where the
   * script came from, which works for tenants with `open_view = true` only.
   */
  url?: string;
  /** An element, or a selector that finds one: the page stands in it. Default: a modal dialog. */
  container?: Element | string;
  /** `auto`, the default: as the user's system says. */
  theme?: "light" | "dark" | "auto";
  /** A language tag such as `de` or `pt-BR`. Default: the page's own choice; the widget's words follow `<html lang>`. */
  locale?: string;
  /** Called once, when the code was right. */
  onFinish?: (namespace: string, id: string, receipt: string) => void;
  /** Called once, when the user leaves: Esc (also inside the frame), the cross, a click beside the dialog, `cancel()`. */
  onCancel?: () => void;
}

/** Resolves to `null` when cancelled; never rejects. */
export interface OTPGatewayPromise extends Promise<OTPGatewayResult | null> {
  /** Ends the widget as if the user had left; after an end it does nothing. */
  cancel(): void;
}

/** Throws a TypeError, before anything is shown, when an argument is of no use. */
export interface OTPGatewayFunction {
  (options: OTPGatewayOptions): OTPGatewayPromise;
  /** The call of otpgateway; for tenants with `open_view = true`. */
  (
    namespace: string,
    id: string,
    onFinish?: OTPGatewayOptions["onFinish"],
    onCancel?: OTPGatewayOptions["onCancel"],
  ): OTPGatewayPromise;
}

export declare const OTPGateway: OTPGatewayFunction;
export default OTPGateway;

declare global {
  /** Defined by the script otp.js; the module otp.mjs defines no global. */
  var OTPGateway: OTPGatewayFunction;
}
