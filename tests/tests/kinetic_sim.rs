//! The simulated Kinetic has the habits of the real one, seen over plain HTTP.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use simulators::kinetic::{KineticSim, Seed};

async fn seeded() -> KineticSim {
    let sim = KineticSim::builder().start().await.unwrap();
    sim.seed(Seed { vendors: 150, ..Seed::default() });
    sim
}

fn request(sim: &KineticSim, method: Method, path: &str) -> RequestBuilder {
    Client::new()
        .request(method, format!("{}/api/v2/odata/EPIC06/{path}", sim.url()))
        .header("x-api-key", sim.api_key())
        .basic_auth(sim.user(), Some(sim.password()))
}

async fn get(sim: &KineticSim, path: &str) -> (u16, Value) {
    let answer = request(sim, Method::GET, path).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn post(sim: &KineticSim, path: &str, body: Value) -> (u16, Value) {
    let answer = request(sim, Method::POST, path).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn numbers(page: &Value) -> Vec<i64> {
    page["value"].as_array().unwrap().iter().map(|row| row["VendorNum"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pages_stop_at_a_hundred_and_have_no_order_unless_asked_for() {
    let sim = seeded().await;
    let path = "Erp.BO.VendorSvc/Vendors?$select=VendorNum";
    let (_, first) = get(&sim, path).await;
    let (_, second) = get(&sim, path).await;
    assert_eq!(numbers(&first).len(), 100);
    assert!(first.get("@odata.nextLink").is_none() && first.get("@odata.count").is_none());
    assert_ne!(numbers(&first), numbers(&second));
    let (_, ordered) = get(&sim, &format!("{path}&$orderby=VendorNum%20desc&$top=3&$count=true")).await;
    assert_eq!((numbers(&ordered), &ordered["@odata.count"]), (vec![1149, 1148, 1147], &json!(150)));
}

#[tokio::test]
async fn filters_are_strict_about_names_and_read_what_odata_writes() {
    let sim = seeded().await;
    let (status, refused) = get(&sim, "Erp.BO.VendorSvc/Vendors?$filter=vendornum%20eq%201").await;
    assert_eq!((status, &refused["HttpStatus"]), (400, &json!(400)));
    assert_eq!(refused["ErrorMessage"], "Could not find a property named 'vendornum' on type 'Erp.Vendor'.");
    assert!(refused["CorrelationId"].is_string() && refused["ErrorDetails"].is_array());
    let filter = "(VendorNum%20lt%201003%20or%20VendorNum%20in%20(1005,1006))%20and%20not%20(VendorID%20eq%20'V1001')";
    let (_, page) = get(&sim, &format!("Erp.BO.VendorSvc/Vendors?$filter={filter}&$orderby=VendorNum")).await;
    assert_eq!(numbers(&page), [1000, 1002, 1005, 1006]);
    assert_eq!(get(&sim, "Erp.BO.NoSvc/Vendors").await.0, 404);
    let (_, vendor) = get(&sim, "Erp.BO.VendorSvc/Vendors('EPIC06',1007)?$select=VendorID").await;
    assert_eq!(vendor["VendorID"], "V1007");
    let (_, order) = get(&sim, "Erp.BO.POSvc/POes('EPIC06',3001)?$expand=PODetails,PORels").await;
    assert_eq!((order["PODetails"].as_array().unwrap().len(), order["PORels"].as_array().unwrap().len()), (2, 2));
    // Observed on a real server: the lines answer nothing to a filter.
    assert_eq!(get(&sim, "Erp.BO.POSvc/PODetails?$filter=PONUM%20eq%203001").await.1["value"], json!([]));
}

#[tokio::test]
async fn key_and_identity_are_asked_for_separately_and_a_wrong_key_is_echoed() {
    let sim = seeded().await;
    let url = format!("{}/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Vendors", sim.url());
    let wrong = Client::new().get(&url).header("x-api-key", "wrong-key").basic_auth(sim.user(), Some(sim.password()));
    let answer: Value = wrong.send().await.unwrap().json().await.unwrap();
    assert!(answer["ErrorMessage"].as_str().unwrap().starts_with("Invalid API Key wrong-key"), "{answer}");
    let wrong = Client::new().get(&url).header("x-api-key", sim.api_key()).basic_auth(sim.user(), Some("wrong"));
    let answer: Value = wrong.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["ErrorMessage"], "Invalid username or password.");
    assert_eq!(answer["ErrorType"], "System.UnauthorizedAccessException");

    let token = Client::new()
        .post(format!("{}/TokenResource.svc/", sim.url()))
        .header("username", sim.user())
        .header("password", sim.password());
    let json: Value =
        token.try_clone().unwrap().header("accept", "application/json").send().await.unwrap().json().await.unwrap();
    let bearer = json["AccessToken"].as_str().unwrap();
    let read = || Client::new().get(&url).header("x-api-key", sim.api_key()).bearer_auth(bearer).send();
    assert_eq!(read().await.unwrap().status(), 200);
    sim.expire_tokens();
    assert_eq!(read().await.unwrap().status(), 401);
    assert!(token.send().await.unwrap().text().await.unwrap().contains("<AccessToken>"), "XML unless asked otherwise");
}

#[tokio::test]
async fn rows_are_made_saved_and_refused_the_kinetic_way() {
    let sim = seeded().await;
    let (_, fresh) = post(&sim, "Erp.BO.VendorSvc/GetNewVendor", json!({"ds": {}})).await;
    let mut ds = fresh["parameters"]["ds"].clone();
    assert_eq!((&ds["Vendor"][0]["RowMod"], &ds["Vendor"][0]["VendorNum"]), (&json!("A"), &json!(0)));
    ds["Vendor"][0]["VendorID"] = json!("NEW");
    let (status, saved) = post(&sim, "Erp.BO.VendorSvc/Update", json!({ "ds": ds })).await;
    let saved = saved["parameters"]["ds"]["Vendor"][0].clone();
    assert_eq!((status, &saved["VendorNum"]), (200, &json!(1150)), "the server has given a number");
    assert!(saved["SysRevID"].as_i64().unwrap() > i64::from(i32::MAX));

    let mut row = saved.clone();
    (row["Name"], row["RowMod"]) = (json!("first"), json!("U"));
    assert_eq!(post(&sim, "Erp.BO.VendorSvc/Update", json!({"ds": {"Vendor": [row]}})).await.0, 200);
    row["Name"] = json!("second, by somebody who has not seen the first");
    let (status, refused) = post(&sim, "Erp.BO.VendorSvc/Update", json!({"ds": {"Vendor": [row]}})).await;
    assert_eq!(status, 400);
    assert!(refused["ErrorMessage"].as_str().unwrap().contains("modified by another user"), "{refused}");
    let (status, hidden) = post(&sim, "Erp.BO.VendorSvc/UpdateExt", json!({"ds": {"Vendor": [row]}})).await;
    assert_eq!((status, &hidden["parameters"]["errorsOccurred"]), (200, &json!(true)), "a failure inside of a success");
    let (_, found) = post(&sim, "Erp.BO.VendorSvc/GetByID", json!({"vendorNum": 1150})).await;
    assert_eq!(found["returnObj"]["Vendor"][0]["Name"], "first");
    assert_eq!(post(&sim, "Erp.BO.VendorSvc/DeleteByID", json!({"vendorNum": 1150})).await.0, 200);
    assert_eq!(post(&sim, "Erp.BO.VendorSvc/GetByID", json!({"vendorNum": 1150})).await.0, 404);
}

#[tokio::test]
async fn update_master_has_seven_inputs_and_nine_outputs_and_may_ask_instead_of_saving() {
    let sim = KineticSim::builder().switches(|switches| switches.update_master_asks = true).start().await.unwrap();
    sim.seed(Seed::default());
    let path = "Erp.BO.APInvoiceSvc/UpdateMaster";
    let mut inputs = json!({"ds": {"APInvHed": []}, "cGroupID": "G", "cTableName": "APInvHed", "runChkCPay": false,
        "runChkBankRef": false, "runChkRevChrg": false, "suppressUserPrompts": false});
    let (_, asked) = post(&sim, path, inputs.clone()).await;
    let outputs = asked["parameters"].as_object().unwrap();
    assert_eq!(
        (outputs.len(), &outputs["requiresUserInput"], &outputs["lUpdateRan"]),
        (9, &json!(true), &json!(false))
    );
    inputs["suppressUserPrompts"] = json!(true);
    assert_eq!(post(&sim, path, inputs.clone()).await.1["parameters"]["lUpdateRan"], json!(true));
    inputs.as_object_mut().unwrap().remove("cTableName");
    assert_eq!(post(&sim, path, inputs).await.0, 400);
}
