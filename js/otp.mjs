// The widget as a module: import { OTPGateway } from "https://otp.example/static/otp.mjs";
// The root is where this file came from, unless a call gives its `url`.
import "./otp.js";

export const OTPGateway = globalThis[Symbol.for("otpsvc.widget")](import.meta.url);
export default OTPGateway;
