// Looks at pages as a person would, and prints what is wrong with them: one line for
// each fault, none if all is well.
//
//   node look.js PLAYWRIGHT CHROMIUM SCREENSHOTS NAME=URL…
//
// Each page is shown at the widths of a phone, a tablet and a desk, light and dark, with
// JavaScript off; pictures go to SCREENSHOTS.
const [, , directory, executablePath, screenshots, ...pages] = process.argv
const { chromium } = require(`${directory}/node_modules/playwright-core`)

const widths = [320, 768, 1280]
const schemes = ["light", "dark"]
const settled = 300 // milliseconds after which nothing may move any more
const contrast = 4.5 // of text, whatever its size (WCAG 1.4.3)
const pictureContrast = 3 // of what a picture shows (WCAG 1.4.11)

// faultsOf runs in the page.
function faultsOf({ contrast, pictureContrast }) {
  const faults = []
  const name = (e) => `<${e.tagName.toLowerCase()}${e.getAttribute("class") ? ` class="${e.getAttribute("class")}"` : ""}>`
  const root = document.documentElement
  if (root.scrollWidth > innerWidth) faults.push(`it scrolls sideways: ${root.scrollWidth} px in ${innerWidth}`)
  if (!root.lang) faults.push("it does not say its language")
  if (!document.title.trim()) faults.push("it has no title")
  for (const landmark of ["body > header", "body > main", "body > footer", "h1"]) {
    const n = document.querySelectorAll(landmark).length
    if (n !== 1) faults.push(`it has ${n} of ${landmark}`)
  }
  let level = 0
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (+h.tagName[1] > level + 1) faults.push(`${name(h)} follows a heading of level ${level}`)
    level = +h.tagName[1]
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id)
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id ${id} comes twice`)
  for (const e of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) faults.push(`${name(e)} has a label that is not there`)
  for (const e of document.querySelectorAll("svg, img"))
    if (e.getAttribute("aria-hidden") !== "true" && !(e.getAttribute("role") === "img" && e.getAttribute("aria-label")) && !e.getAttribute("alt"))
      faults.push(`${name(e)} has no text in its place`)
  for (const e of document.querySelectorAll("script, iframe, object, embed")) faults.push(`it has ${name(e)}`)
  for (const e of document.querySelectorAll("*"))
    for (const a of e.attributes) if (/^on/i.test(a.name) || /^\s*javascript:/i.test(a.value)) faults.push(`${name(e)} has code in ${a.name}`)

  const color = (text) => {
    const [r, g, b, alpha = 1] = text.match(/[\d.]+/g).map(Number)
    return { r, g, b, alpha }
  }
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const background = (e) => {
    for (; e; e = e.parentElement) {
      const c = color(getComputedStyle(e).backgroundColor)
      if (c.alpha === 1) return c
      if (c.alpha > 0) faults.push(`${name(e)} has a background that shines through`)
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? { r: 18, g: 18, b: 18 } : { r: 255, g: 255, b: 255 }
  }
  const ratio = (e, front) => {
    const [a, b] = [luminance(color(front)), luminance(background(e))].sort((x, y) => y - x)
    return (a + 0.05) / (b + 0.05)
  }
  const seen = new Set()
  const check = (e, front, least, what) => {
    const found = ratio(e, front)
    const fault = `${what} of ${name(e)} has a contrast of ${found.toFixed(2)}`
    if (found < least && !seen.has(fault)) faults.push(fault)
    seen.add(fault)
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  let characters = 0
  while (texts.nextNode()) {
    const text = texts.currentNode
    const e = text.parentElement
    if (!text.data.trim()) continue
    characters += text.data.trim().length
    const style = getComputedStyle(e)
    check(e, e.closest("svg") ? style.fill : style.color, contrast, "text")
    if (parseFloat(style.fontSize) < 12) faults.push(`text of ${name(e)} has ${style.fontSize}`)
  }
  if (characters < 50) faults.push(`it has ${characters} characters of text`)
  for (const e of document.querySelectorAll("svg path, svg rect, svg circle")) {
    const style = getComputedStyle(e)
    if (style.stroke !== "none" && !e.closest(".none, .axis")) check(e, style.stroke, e.classList.contains("none") ? 1.3 : pictureContrast, "the line")
    if (style.fill !== "none" && !e.closest(".none, .axis")) check(e, style.fill, pictureContrast, "the area")
  }
  return faults
}

// focusFault runs in the page: what has the focus must show it.
function focusFault() {
  const e = document.activeElement
  if (!e || e === document.body) return "the keyboard reaches no link"
  const { outlineStyle, outlineWidth } = getComputedStyle(e)
  return outlineStyle === "none" || parseFloat(outlineWidth) < 2 ? "what has the focus does not show it" : ""
}

async function look(browser, name, url) {
  const faults = []
  const context = await browser.newContext({ javaScriptEnabled: false })
  try {
    const page = await context.newPage()
    let where = ""
    const fault = (text) => faults.push(`${name}${where}: ${text}`)
    let shifted = 0
    const wire = await context.newCDPSession(page)
    wire.on("PerformanceTimeline.timelineEventAdded", ({ event }) => (shifted += event.layoutShiftDetails?.value ?? 0))
    await wire.send("PerformanceTimeline.enable", { eventTypes: ["layout-shift"] })
    page.on("console", (m) => m.type() === "error" && fault(`the browser says: ${m.text()}`))
    page.on("request", (r) => r.url() !== url && !r.url().startsWith("data:") && fault(`it asks for ${r.url()}`))
    for (const width of widths) {
      where = ` at ${width} px`
      await page.goto("about:blank") // or what was shown before would move
      await page.setViewportSize({ width, height: 900 })
      shifted = 0
      const answer = await page.goto(url, { waitUntil: "load" })
      if (!answer.ok()) fault(`the answer is ${answer.status()}`)
      await page.waitForTimeout(settled) // before the pictures, for which the window grows
      if (shifted > 0) fault(`what is shown moves by ${shifted.toFixed(3)}`)
      for (const colorScheme of schemes) {
        where = ` at ${width} px, ${colorScheme}`
        await page.emulateMedia({ colorScheme })
        for (const text of await page.evaluate(faultsOf, { contrast, pictureContrast })) fault(text)
        await page.screenshot({ path: `${screenshots}/${name}-${width}-${colorScheme}.png`, fullPage: true })
      }
      where = ` at ${width} px`
      await page.keyboard.press("Tab")
      const text = await page.evaluate(focusFault)
      if (text) fault(text)
    }
    where = ""
    const tree = await page.locator("body").ariaSnapshot()
    for (const role of ["banner", "main", "contentinfo", "heading"]) if (!tree.includes(`- ${role}`)) fault(`those who listen find no ${role}`)
  } finally {
    await context.close()
  }
  return faults
}

async function main() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] })
  try {
    const looks = pages.map((page) => {
      const [, name, url] = page.match(/^([^=]*)=(.*)$/)
      return look(browser, name, url)
    })
    for (const faults of await Promise.all(looks)) for (const fault of faults) console.log(fault)
  } finally {
    await browser.close()
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
