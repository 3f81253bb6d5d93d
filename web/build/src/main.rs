//! Makes the JavaScript side of a wasm file: `tagwave-web-build FILE.wasm FOLDER`.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder] = &arguments[..] else {
        eprintln!("usage: tagwave-web-build FILE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let made = Bindgen::new().web(true).and_then(|bindgen| {
        bindgen.input_path(input).out_name("tagwave_web").typescript(true).generate(folder)
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
