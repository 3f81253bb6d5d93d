//! Errors as JavaScript has them.

use js_sys::{Error as JsError, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// An `Error` with the message and the `kind` of an error of the library.
pub(crate) fn js_error(error: &tagwave::Error) -> JsValue {
    js_failure(error.kind().as_str(), &error.to_string())
}

/// Message of an `Error`.
pub(crate) fn message_of(error: &JsValue) -> String {
    error.dyn_ref::<JsError>().map_or_else(String::new, |error| error.message().into())
}

/// An `Error` with a `kind`.
pub(crate) fn js_failure(kind: &str, message: &str) -> JsValue {
    let found = JsError::new(message);
    // A property of an object that was just made can be set.
    let _ = Reflect::set(&found, &"kind".into(), &kind.into());
    found.into()
}
