//! What a changed configuration changes while the gateway runs.

use crate::config::Config;

/// The configuration that holds from now on, and what of the new one waits for a restart, as it
/// is called in the document.
pub(super) fn merge(running: &Config, new: Config) -> (Config, Vec<&'static str>) {
    let fixed = [
        ("listen", running.listen != new.listen),
        ("admin", running.admin != new.admin),
        ("dataDir", running.data_dir != new.data_dir),
        ("ack", running.ack != new.ack),
        ("limits", running.limits != new.limits),
        ("retention", running.retention != new.retention),
    ];
    let waits = fixed.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    let merged = Config {
        sources: new.sources,
        backends: new.backends,
        store_only: new.store_only,
        ..running.clone()
    };
    (merged, waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Files, read};

    struct Any;

    impl Files for Any {
        fn secret(&self, _: &crate::signature::Scheme, _: &std::path::Path) -> Result<(), String> {
            Ok(())
        }

        fn readable(&self, _: &std::path::Path) -> Result<(), String> {
            Ok(())
        }
    }

    fn config(rest: &str) -> Config {
        let text = format!("apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n{rest}");
        read("f", &text, None, &Any).unwrap()
    }

    #[test]
    fn sources_and_backends_change_and_the_rest_waits() {
        const SOURCE: &str = "sources: [{name: a, path: /a, scheme: none}]\n";
        let running = config("listen: 127.0.0.1:1\n");
        for (text, waits) in [
            (SOURCE, &["listen"][..]),
            ("listen: 127.0.0.1:1\n", &[]),
            ("listen: 127.0.0.1:1\nack: sync\nlimits: {body: 1MiB}\n", &["ack", "limits"]),
            (
                "listen: 127.0.0.1:1\ndataDir: /x\nretention: {delivered: 1h}\n",
                &["dataDir", "retention"],
            ),
        ] {
            let new = config(text);
            let (merged, told) = merge(&running, new.clone());
            assert_eq!(told, waits, "{text}");
            assert_eq!(merged.sources, new.sources);
            assert_eq!(merged.listen, running.listen);
            assert_eq!(merged.limits, running.limits);
        }
    }
}
