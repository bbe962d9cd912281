//! Classification by the bodies that servers have been seen to send, and the removal of secrets.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;

const UNAUTHORISED: &str = "System.UnauthorizedAccessException";

fn epicor(message: &str, class: &str) -> String {
    serde_json::json!({
        "HttpStatus": 400, "ReasonPhrase": "REST API Exception", "ErrorMessage": message, "ErrorType": class,
        "ErrorDetails": [{ "Message": message, "Type": "Error", "Table": "APInvHed", "Field": "InvoiceNum" }],
        "CorrelationId": "5f2f0b5e-0000-0000-0000-000000000000"
    })
    .to_string()
}

fn of(status: u16, body: &str) -> Error {
    let status = StatusCode::from_u16(status).unwrap();
    Error::response("read Vendors", status, &HeaderMap::new(), body.as_bytes(), &Scrubber::default())
}

#[test]
fn answers_are_classified_by_class_and_message_before_their_status() {
    for (status, message, class, kind) in [
        (401, "Invalid username or password.", UNAUTHORISED, ErrorKind::Auth),
        (401, "Invalid API Key XYZ\nCompany EPIC06", UNAUTHORISED, ErrorKind::Auth),
        (401, "Access denied (Erp.BO.Company.GetRows).", UNAUTHORISED, ErrorKind::Forbidden),
        (403, "Access denied (Erp.BO.Company.GetRows).", "UnauthorizedAccessException", ErrorKind::Forbidden),
        (403, "Outside of the scope", "UnauthorizedAccessException", ErrorKind::Forbidden),
        (400, "GL account is not active.", "Ice.Common.BusinessObjectException", ErrorKind::Rejected),
        (400, "Duplicate invoice number", "Ice.BLException", ErrorKind::Conflict),
        (400, "Row has been modified by another user and couldn't be updated", "Ice.BLException", ErrorKind::Conflict),
        (409, "exists", "Ice.Common.DuplicateRecordException", ErrorKind::Conflict),
        (500, "Record not found.", "Ice.Common.RecordNotFoundException", ErrorKind::NotFound),
        (404, "no service", "Epicor.RESTApi.ErrorHandling.ApiException", ErrorKind::NotFound),
        (410, "session", "Epicor.InvalidSessionException", ErrorKind::Auth),
        (400, "Maximum users exceeded on license type: DefaultUser", "Ice.BLException", ErrorKind::Throttled),
        (400, "syntax", "Microsoft.OData.ODataException", ErrorKind::Rejected),
        (503, "pending", "Ice.ConversionsPendingException", ErrorKind::Server),
        (500, "Object reference", "System.NullReferenceException", ErrorKind::Server),
        (429, "slow down", "X", ErrorKind::Throttled),
    ] {
        let error = of(status, &epicor(message, class));
        assert_eq!(error.kind(), kind, "{status} {class} {message}");
        assert_eq!(error.delivery(), Delivery::Answered);
        assert_eq!(error.service_error().unwrap().message, message);
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_wrong_key_a_wrong_password_and_a_missing_right_read_differently() {
    let bodies = ["Invalid API Key X", "Invalid username or password.", "Access denied (Erp.BO.Part.GetRows)."];
    let texts: Vec<String> = bodies
        .iter()
        .map(|message| of(401, &epicor(message, "System.UnauthorizedAccessException")).to_string())
        .collect();
    assert!(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2]);
    assert!(texts[2].contains("Erp.BO.Part.GetRows"));
}

#[test]
fn the_unknown_column_is_named() {
    let body = epicor("Could not find a property named 'VendorId' on type 'Erp.Vendor'.", "ODataException");
    assert!(of(400, &body).to_string().contains("VendorId"));
    let hostile = epicor("Could not find a property named 'x; drop\n' on type", "ODataException");
    assert!(!of(400, &hostile).to_string().contains("drop"));
}

#[test]
fn messages_of_the_server_stay_out_of_the_line_for_logs() {
    let error = of(400, &epicor("Vendor ACME owes 12.50", "Ice.Common.BusinessObjectException"));
    assert!(!error.to_string().contains("ACME"));
    assert!(!error.to_string().contains('\n'));
    let detail = &error.service_error().unwrap().details[0];
    assert_eq!((detail.table.as_deref(), detail.field.as_deref()), (Some("APInvHed"), Some("InvoiceNum")));
    assert!(error.correlation_id().is_some());
}

#[test]
fn other_shapes_of_bodies_are_tolerated() {
    let odata = of(
        400,
        r#"{"error":{"code":"","message":"bad filter","innererror":{"type":"Microsoft.OData.ODataException"}}}"#,
    );
    assert_eq!(odata.service_error().unwrap().message, "bad filter");
    assert_eq!(odata.kind(), ErrorKind::Rejected);
    let xml = of(
        401,
        "<?xml version=\"1.0\"?><ApiError xmlns=\"x\"><HttpStatus>401</HttpStatus><ErrorMessage>Invalid username or \
         password &amp; more.</ErrorMessage><ErrorType>System.UnauthorizedAccessException</ErrorType></ApiError>",
    );
    assert_eq!(xml.service_error().unwrap().message, "Invalid username or password & more.");
    assert_eq!(xml.service_error().unwrap().http_status, Some(401));
    let html = of(502, "<html><body><h1>Bad\n   Gateway</h1></body></html>");
    assert!(html.service_error().is_none());
    assert_eq!(html.body_excerpt(), Some("<html><body><h1>Bad Gateway</h1></body></html>"));
    let empty = of(500, "");
    assert_eq!((empty.kind(), empty.body_excerpt()), (ErrorKind::Server, None));
    let long = of(500, &"x".repeat(1_000_000));
    assert_eq!(long.body_excerpt().unwrap().len(), 512);
    for odd in ["{", "[1]", "null", "{\"ErrorMessage\":5}", "<a", "\u{feff}{}"] {
        assert_eq!(of(500, odd).kind(), ErrorKind::Server);
    }
}

#[test]
fn secrets_are_cut_out_in_every_spelling() {
    let password = r#"p"ä&ss/w rd"#;
    let mut headers = HeaderMap::new();
    let mut key = HeaderValue::from_static("KEY-abcDEF123");
    key.set_sensitive(true);
    headers.insert("x-api-key", key);
    let mut scrubber = Scrubber::of(&headers);
    scrubber.add(password);
    let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC).to_string();
    let body = format!(
        "key KEY-abcDEF123 and key-ABCdef123, plain {password}, json {}, url {encoded}, xml p&quot;ä&amp;ss/w rd.",
        serde_json::to_string(password).unwrap()
    );
    let clean = scrubber.clean(&body);
    for secret in ["abcDEF", "ABCdef", "w rd", "ss/w", "%26ss"] {
        assert!(!clean.contains(secret), "{clean}");
    }
    assert!(clean.starts_with("key [redacted] and [redacted], plain [redacted]"));
    assert!(!format!("{scrubber:?}").contains("abcdef"));
}

#[test]
fn the_password_inside_of_a_basic_header_is_a_secret_too() {
    let mut headers = HeaderMap::new();
    let mut value = HeaderValue::from_static("Basic dXNlcjpodW50ZXIyMg==");
    value.set_sensitive(true);
    headers.insert(http::header::AUTHORIZATION, value);
    let clean = Scrubber::of(&headers).clean("user hunter22 dXNlcjpodW50ZXIyMg==");
    assert_eq!(clean, "user [redacted] [redacted]");
}

#[test]
fn a_secret_at_the_edge_of_the_excerpt_is_not_cut_in_half() {
    let mut scrubber = Scrubber::default();
    scrubber.add("SECRETSECRET");
    let body = format!("{}SECRETSECRET", "x".repeat(507));
    assert!(!service::excerpt(body.as_bytes(), &scrubber).unwrap().contains("SECRE"));
}
