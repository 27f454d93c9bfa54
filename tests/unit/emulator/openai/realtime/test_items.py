"""The items of a conversation."""

from tests.support.conversation_driver import ConversationDriver, output


def test_items_by_id() -> None:
    """Items are placed, retrieved, truncated and deleted by their ids."""
    driver = ConversationDriver({"model": "Good day to you"})
    driver.client("response.create")
    driver.run()
    spoken = driver.last("conversation.item.done")["item"]["id"]
    driver.client("conversation.item.create", item=output("c", id="out_1"), previous_item_id="root")
    assert driver.last("conversation.item.added")["previous_item_id"] is None
    driver.client("conversation.item.retrieve", item_id="out_1")
    assert driver.last("conversation.item.retrieved")["item"]["output"] == "sunny"
    driver.client("conversation.item.retrieve", item_id=spoken)
    assert driver.last("conversation.item.retrieved")["item"]["content"][0]["audio"]
    driver.client("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=10)
    driver.client("conversation.item.retrieve", item_id=spoken)
    assert driver.last("conversation.item.retrieved")["item"]["content"][0]["transcript"] is None
    driver.client("conversation.item.delete", item_id="out_1")
    driver.client("conversation.item.retrieve", item_id="out_1", event_id="asked")
    assert (driver.error()["code"], driver.error()["event_id"]) == ("item_retrieve_invalid_item_id", "asked")
    driver.run()


def test_an_id_that_exists() -> None:
    """An item under an id that exists is refused, and the first stays as it is."""
    driver = ConversationDriver()
    driver.client("conversation.item.create", item=output("c", "first", id="out_1"))
    driver.client("conversation.item.create", item=output("c", "second", id="out_1"))
    assert driver.error()["code"] == "item_create_duplicate_item_id"
    assert driver.conversation.history["out_1"]["output"] == "first"


def test_an_id_that_is_too_long() -> None:
    """An item under an id of more than 32 characters is refused."""
    driver = ConversationDriver()
    driver.client("conversation.item.create", item=output("c", id="x" * 33))
    assert driver.error()["code"] == "string_above_max_length"
