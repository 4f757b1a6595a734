//! The document as structs: what its schema ensures and no more.

use std::collections::BTreeMap;

use serde::Deserialize;

macro_rules! parts {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }
    )*};
}

parts! {
    Agent { description: String, annotations: BTreeMap<String, String> }
    Hub { addresses: Vec<String>, transport: String, proxy_file: String, connections: u8 }
    Defaults { dial_timeout: String, head_timeout: String, idle_timeout: String, concurrent: u32 }
    Service {
        name: String,
        r#type: String,
        url: Option<String>,
        address: Option<String>,
        protocol: String,
        upgrade: bool,
        host: String,
        client_authorization: String,
        cookies: String,
        retry: String,
        tls: Option<Tls>,
        credentials: Credentials,
        allow: Allow,
        dial_timeout: Option<String>,
        head_timeout: Option<String>,
        idle_timeout: Option<String>,
        concurrent: Option<u32>,
        max_body: Option<String>,
        annotations: BTreeMap<String, String>,
    }
    Tls {
        ca_file: String,
        server_name: String,
        min_version: String,
        insecure: bool,
        starttls: Option<String>,
    }
    Credentials {
        basic: Option<Basic>,
        bearer: Option<Token>,
        token: Option<Token>,
        header: Option<Field>,
        client_certificate: Option<ClientCertificate>,
    }
    Basic { user_file: String, password_file: String }
    Token { token_file: String }
    Field { name: String, value_file: String }
    ClientCertificate { cert_file: String, key_file: String }
    Allow {
        methods: Vec<String>,
        paths: Vec<String>,
        deny_paths: Vec<String>,
        users: Vec<String>,
    }
    Incoming {
        name: String,
        listen: String,
        hosts: Vec<String>,
        service: IncomingService,
    }
    IncomingService { agent: String, r#type: String, name: String }
    Policy { max_token_age: String, require_identity: bool }
}
