//! Log lines: text for people or one JSON object per line, on standard error. The message is
//! constant; what varies stands in fields.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets logging up, once. `level` is a filter in `tracing` syntax.
pub fn start(json: bool, level: &str) {
    let colours = std::io::stderr().is_terminal();
    // A second call (in tests) keeps the first subscriber.
    let _ = subscriber(json, level, colours, std::io::stderr).try_init();
}

/// What writes log lines to `writer`. Each line of a job carries its span: `job{id=... attempt=1}`
/// in text, `"span":{"id":...,"attempt":1}` in JSON.
pub fn subscriber<W>(
    json: bool,
    level: &str,
    colours: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The AMQP client reports every closed socket by itself; our own lines say what follows from
    // it.
    let quiet =
        "lapin=off,aws_config=warn,aws_smithy_runtime=info,aws_smithy_http_client=info,hyper=info";
    let filter = EnvFilter::try_new(format!("{level},{quiet}"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours);
    if json {
        let lines = lines.json().flatten_event(true).with_span_list(false);
        Box::new(lines.finish())
    } else {
        Box::new(lines.finish())
    }
}
