"""Search a shop by relevance alone, then with stock, freshness, brands and a pinned product."""

from dataclasses import replace

import vecdb_rerank

PRODUCTS = [
    ("merino", "Merino wool scarf, warm and soft, red", "Alder", 0, "2024-11-03"),
    ("tartan", "Tartan wool scarf for cold winters", "Alder", 12, "2025-02-11"),
    ("lambswool", "Lambswool scarf, thick winter knit", "Alder", 4, "2026-04-20"),
    ("cashmere", "Cashmere scarf, light but very warm", "Alder", 0, "2026-03-01"),
    ("infinity", "Infinity scarf of recycled wool", "Birch", 30, "2026-05-02"),
    ("fleece", "Fleece neck warmer for winter runs", "Cedar", 8, "2026-05-20"),
    ("silk", "Silk scarf with a floral print", "Birch", 15, "2023-06-30"),
    ("hat", "Wool hat with ear flaps", "Cedar", 20, "2026-01-15"),
    ("gloves", "Leather gloves with wool lining", "Alder", 9, "2025-10-01"),
    ("gift-card", "Gift card, sent by e-mail", "", 1, "2022-01-01"),
]
QUERY = "warm winter scarf as a gift"

connector = vecdb_rerank.connect()
connector.create()
connector.add(
    {"id": i, "text": text, "brand": brand, "stock": stock, "added": added}
    for i, text, brand, stock, added in PRODUCTS
)
staged = connector.pipeline.policy
for title, policy in (("relevance", replace(staged, after=())), ("beyond", staged)):
    with vecdb_rerank.observe() as outcomes:
        response = connector.search(QUERY, limit=5, rerank=policy, explain=True)
    print(f"{title}:")
    for hit, explained in zip(connector.candidates(response), outcomes[0].hits, strict=True):
        payload = hit.payload
        because = ", ".join(f"{effect.stage} -> {effect.rank}" for effect in explained.after)
        print(
            f"  {hit.score:.2f}  {hit.doc_id:<10} {payload['brand'] or '-':<6} "
            f"stock {payload['stock']:<3} {payload['added']}  {because}"
        )
connector.close()
