//! Log records on their way to the exporter.

use erlmcp_trace::{LogHead, LogRecord, Producer, ValueWriter};

use crate::atoms::atoms;
use crate::attribute::{AttributeSink, set_all, shown, write};
use crate::context::Context;
use crate::exporter::logs;
use crate::raw::{CallEnv, RawTerm};
use crate::state::{Tracing, thread};
use crate::work;

impl AttributeSink for LogRecord {
    fn set(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        self.set_attribute(key, write);
    }

    fn drop_some(&mut self, count: usize) {
        self.drop_attributes(count);
    }
}

/// What a thread writes log records with.
#[derive(Debug, Default)]
pub(crate) struct Logging {
    record: LogRecord,
    producer: Option<Producer>,
}

/// `log_emit(Time, Severity, SeverityText, Body, Attributes, Span) -> boolean()`.
pub(crate) fn emit(
    env: CallEnv<'_>,
    [time, severity, severity_text, body, attributes, span]: [RawTerm; 6],
) -> RawTerm {
    work::begin();
    let atoms = atoms();
    let Some(mut tracing) = thread().tracing() else { return atoms.false_ };
    let Tracing { tracer, texts, logging } = &mut *tracing;
    let observed_ns = tracer.now_ns();
    let limits = tracer.log_limits();
    let span = Context::read(env, span)
        .map(|context| (context.trace_id, context.span_id, context.is_sampled()));
    let severity = env.get_uint(severity).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
    let head = LogHead {
        time_ns: env.get_uint(time).unwrap_or(observed_ns),
        observed_ns,
        severity,
        severity_text: shown(env, severity_text, &mut texts.key),
        span,
    };
    let scratch = &mut texts.value;
    logging.record.begin(&head, limits, |to| write(env, body, to, scratch));
    if !set_all(env, attributes, &mut logging.record, texts) {
        logging.record.drop_attributes(1);
    }
    let producer = logging.producer.get_or_insert_with(|| logs().producer());
    if producer.push(logging.record.finish()).is_ok() { atoms.true_ } else { atoms.false_ }
}
